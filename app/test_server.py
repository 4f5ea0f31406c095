import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request
from unittest import mock

import server


class ServerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.log = io.StringIO()
        self.enterContext(contextlib.redirect_stdout(self.log))
        running = server.Server(("127.0.0.1", 0), server.Handler)
        threading.Thread(target=running.serve_forever, args=[0.05]).start()
        self.addCleanup(running.server_close)
        self.addCleanup(running.shutdown)
        self.url = f"http://127.0.0.1:{running.server_port}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            return str(response.read().decode())

    def test_health_is_ok(self) -> None:
        self.assertEqual(self.get("/healthz"), "ok")

    def test_greeting_and_commit_come_from_the_environment(self) -> None:
        with mock.patch.dict(os.environ, GREETING="Ahoy", COMMIT_ID="1a2b3c"):
            self.assertEqual(json.loads(self.get("/?from=test")), {"greeting": "Ahoy", "commit": "1a2b3c"})

    def test_an_unknown_path_is_not_found(self) -> None:
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.get("/nowhere")
        self.assertEqual(caught.exception.code, 404)
        caught.exception.close()

    def test_each_request_is_one_line_in_the_log(self) -> None:
        self.get("/healthz")
        self.assertEqual(
            [json.loads(line) for line in self.log.getvalue().splitlines()],
            [{"request": "GET /healthz HTTP/1.1", "status": 200}],
        )


class ProcessTest(unittest.TestCase):
    def test_sigterm_ends_it_in_order(self) -> None:
        environment = {**os.environ, "PORT": "0"}
        command = [sys.executable, server.__file__]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            self.assertIn("listening", json.loads(process.stdout.readline()))
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=5), 0)


if __name__ == "__main__":
    unittest.main()
