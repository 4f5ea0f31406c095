import threading
import unittest
import urllib.request
from http.server import ThreadingHTTPServer

import server


class ServerTest(unittest.TestCase):
    def test_health_is_ok(self) -> None:
        running = ThreadingHTTPServer(("127.0.0.1", 0), server.Handler)
        threading.Thread(target=running.serve_forever, args=[0.05]).start()
        self.addCleanup(running.server_close)
        self.addCleanup(running.shutdown)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.server_port}/healthz", timeout=5) as response:
            self.assertEqual(response.read(), b"ok")
