"""The service that the tests and the demo release: a greeting, and a path for the health check."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = "Hello from Slipway"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = "ok" if self.path == "/healthz" else os.environ.get("GREETING", GREETING)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
