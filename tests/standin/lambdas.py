"""Lambda: runs the functions that are deployed, as they are deployed."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, TextIO

from standin.api import REGION, Api
from standin.clock import Clock
from standin.provider import Aws, Resource

FUNCTION = "aws:lambda/function:Function"


class FunctionError(RuntimeError):
    """The function raised; the message is its error, as Lambda answers it."""


class Lambdas:
    def __init__(self, aws: Aws, api: Api, clock: Clock) -> None:
        self._aws, self._api, self._clock = aws, api, clock
        self._idle: dict[str, list[_Worker]] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="slipway-lambda-")
        self.log_path = Path(self._folder.name) / "log"
        self._log = self.log_path.open("w")

    def invoke(self, name: str, event: dict[str, Any]) -> Any:
        """Run the function with an event, and wait for it."""
        function = next(
            (r for r in list(self._aws.resources.values()) if r.type == FUNCTION and r.inputs["name"] == name), None
        )
        if function is None:
            raise RuntimeError(f"Function not found: {name}")
        # A change of the function's code or environment means new processes.
        version = json.dumps(function.inputs, sort_keys=True)
        with self._lock:
            idle = self._idle.setdefault(version, [])
            worker = idle.pop() if idle else _Worker(function, self._api, Path(self._folder.name), self._log)
        try:
            answer = worker.run(event, self._clock, float(function.inputs["timeout"]))
        except BaseException:  # the run was cut off
            worker.end()
            raise
        if "timeout" not in answer:
            with self._lock:
                idle.append(worker)
        if "result" not in answer:
            raise FunctionError(json.dumps(answer.get("error", answer)))
        return answer["result"]

    def close(self) -> None:
        for workers in self._idle.values():
            for worker in workers:
                worker.end()
        self._log.close()
        self._folder.cleanup()


class _Worker:
    def __init__(self, function: Resource, api: Api, folder: Path, log: TextIO) -> None:
        given = function.inputs
        code = Path(tempfile.mkdtemp(dir=folder))
        for path, asset in given["code"]["assets"].items():
            (code / path).parent.mkdir(exist_ok=True)
            (code / path).write_text(asset["text"])
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "AWS_ENDPOINT_URL": api.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_LAMBDA_FUNCTION_NAME": given["name"],
            **api.credentials_for(given["role"]),
            **given.get("environment", {}).get("variables", {}),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), str(code), given["handler"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
            bufsize=1,
        )

    def run(self, event: dict[str, Any], clock: Clock, timeout: float) -> dict[str, Any]:
        deadline = clock.now() + timeout
        self._send({"event": event, "deadline": deadline})
        assert self._process.stdout
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "sleep" in message:
                clock.sleep(message["sleep"])
                if clock.now() > deadline:
                    self.end()
                    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html
                    return {"timeout": f"Task timed out after {timeout:.2f} seconds"}
                self._send(None)
            elif "time" in message:
                self._send(clock.now())
            else:
                return message
        return {"timeout": "the function's process ended"}

    def _send(self, message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
