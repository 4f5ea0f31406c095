import json
import os
import signal
import subprocess
import sys
import unittest


class WorkerTest(unittest.TestCase):
    def test_it_works_until_it_is_stopped(self) -> None:
        environment = {**os.environ, "COMMIT_ID": "1a2b3c", "SECONDS_BETWEEN": "0.01"}
        process = subprocess.Popen([sys.executable, "worker.py"], stdout=subprocess.PIPE, env=environment, text=True)
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=5)
        self.assertEqual(process.returncode, 0)
        self.assertEqual((first, second["worked"]), ({"worked": 1, "commit": "1a2b3c"}, 2))


if __name__ == "__main__":
    unittest.main()
