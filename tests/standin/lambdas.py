"""Lambda: runs the deployed functions with their deployed configuration."""

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from standin.api import REGION, Api
from standin.clock import Clock
from standin.provider import Aws, Resource

FUNCTION = "aws:lambda/function:Function"


class FunctionError(RuntimeError):
    """The function raised; the message is its error, as Lambda returns it."""


class Lambdas:
    def __init__(self, aws: Aws, api: Api, clock: Clock) -> None:
        self._aws, self._api, self._clock = aws, api, clock
        self._idle: dict[str, list[_Worker]] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="slipway-lambda-")
        self.log_path = Path(self._folder.name) / "log"
        self._log = self.log_path.open("a")

    def invoke(self, name: str, event: dict[str, Any]) -> Any:
        """Runs the function with an event, and waits for the result."""
        function = next(
            (r for r in list(self._aws.resources.values()) if r.type == FUNCTION and r.inputs["name"] == name), None
        )
        if function is None:
            raise RuntimeError(f"Function not found: {name}")
        # A change of the function's code or environment needs new processes.
        version = json.dumps(function.inputs, sort_keys=True)
        with self._lock:
            idle = self._idle.setdefault(version, [])
            worker = idle.pop() if idle else _Worker(function, self._api, Path(self._folder.name), self._log)
        try:
            answer = worker.run(event, self._clock, float(function.inputs["timeout"]))
        except BaseException:  # the run was interrupted
            worker.end()
            raise
        if "timeout" not in answer:
            with self._lock:
                idle.append(worker)
        if "result" not in answer:
            raise FunctionError(json.dumps(answer.get("error", answer)))
        return answer["result"]

    def rest(self) -> None:
        """Ends the warm processes."""
        with self._lock:
            for workers in self._idle.values():
                for worker in workers:
                    worker.end()
            self._idle.clear()

    def close(self) -> None:
        self.rest()
        self._log.close()
        self._folder.cleanup()


class _Workers:
    """The process that forks those of the functions; one for all accounts of this process."""

    def __init__(self) -> None:
        self.spent = 0.0
        """CPU seconds of the processes that have ended."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def fork(self, environment: dict[str, str], folder: Path, handler: str, files: list[int]) -> int:
        """Returns the id of a new process that reads orders from, writes answers to, and logs to these files."""
        return int(self._ask({"environment": environment, "folder": str(folder), "handler": handler}, files))

    def end(self, id: int) -> None:
        """Kills a process, and waits for its end."""
        self.spent += float(self._ask({"end": id}, []))

    def _ask(self, order: dict[str, Any], files: list[int]) -> str:
        with self._lock:
            channel = self._channel or self._start()
            socket.send_fds(channel, [json.dumps(order).encode()], files)
            answer = channel.recv(32)
        if not answer:
            raise RuntimeError("the process that forks the functions' has ended")
        return answer.decode()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"}
        environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        script = str(Path(__file__).with_name("worker.py"))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, script, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        self._channel = ours
        atexit.register(self._close)
        return ours

    def _close(self) -> None:
        if self._channel and self._process:
            self._channel.close()  # which ends it
            self._process.wait()


_workers = _Workers()


def spent() -> float:
    """CPU seconds of functions whose process has ended."""
    return _workers.spent


class _Worker:
    def __init__(self, function: Resource, api: Api, folder: Path, log: TextIO) -> None:
        given = function.inputs
        code = Path(tempfile.mkdtemp(dir=folder))
        for path, asset in given["code"]["assets"].items():
            (code / path).parent.mkdir(exist_ok=True, parents=True)
            (code / path).write_text(asset["text"])
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": api.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_LAMBDA_FUNCTION_NAME": given["name"],
            **api.credentials_for(given["role"]),
            **given.get("environment", {}).get("variables", {}),
        }
        (orders, ours), (theirs, answers) = os.pipe(), os.pipe()
        try:
            self._id: int | None = _workers.fork(environment, code, given["handler"], [orders, answers, log.fileno()])
        finally:
            os.close(orders)
            os.close(answers)
        self._orders, self._answers = os.fdopen(ours, "w", buffering=1), os.fdopen(theirs)

    def run(self, event: dict[str, Any], clock: Clock, timeout: float) -> dict[str, Any]:
        deadline = clock.now() + timeout
        try:
            self._send({"event": event, "deadline": deadline})
            for line in self._answers:
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
        except BrokenPipeError:  # it ended while it was being written to
            pass
        self.end()
        return {"timeout": "the function's process ended"}

    def _send(self, message: Any) -> None:
        self._orders.write(json.dumps(message) + "\n")

    def end(self) -> None:
        if self._id is not None:
            _workers.end(self._id)
            self._id = None
            with suppress(BrokenPipeError):
                self._orders.close()
            self._answers.close()
