"""The sample service: a greeting, and which commit it was built from."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    # A connection that sends nothing would otherwise hold up the end of the process.
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self.answer(200, "text/plain", "ok")
        elif path == "/":
            self.answer(200, "application/json", json.dumps(about()))
        else:
            self.answer(404, "text/plain", "not found")

    def answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        print(json.dumps({"request": self.requestline, "status": int(code)}), flush=True)

    def log_error(self, format: str, *args: object) -> None:
        """Nothing: log_request has a line for each request, the refused ones too."""


class Server(ThreadingHTTPServer):
    # server_close() then waits for the answers that are under way.
    daemon_threads = False


def about() -> dict[str, str]:
    return {
        "greeting": os.environ.get("GREETING", "Hello from Slipway"),
        "commit": os.environ.get("COMMIT_ID", "unknown"),
    }


def main() -> None:
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)

    def stop(signal_number: int, frame: object) -> None:
        # From a thread, because shutdown() waits for serve_forever(), which this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    # ECS sends SIGTERM, and SIGKILL 30 seconds later.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(json.dumps({"listening": server.server_port, **about()}), flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
