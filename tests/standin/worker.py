"""Runs Lambda functions, each in a process of its own, as Lambda does: warm for the next event, with its own modules.

This process imports boto3 and forks the others, because importing it takes longer than most invocations. lambdas.py
requests over a socket to fork a process, with the files that it communicates through, and to kill one. A function's
process communicates with lambdas.py in lines of JSON; time is the stand-in's.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

import boto3

# Their models are read once here. The models of other services are read by the function's process.
SERVICES: tuple[str, ...] = (
    "application-autoscaling",
    "codebuild",
    "codedeploy",
    "codepipeline",
    "ecr",
    "ecs",
    "s3",
    "sns",
    "ssm",
)
SERVICES += ("dynamodb", "events")


class Context:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    def __init__(self, deadline: float) -> None:
        self.function_name, self.deadline = os.environ["AWS_LAMBDA_FUNCTION_NAME"], deadline

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.time()) * 1000)


def serve(folder: str, handler: str, orders: TextIO, answers: TextIO) -> None:
    """Run a function for one event after the other."""

    def ask(question: dict[str, Any]) -> Any:
        answers.write(json.dumps(question) + "\n")
        return json.loads(orders.readline())

    sys.path.insert(0, folder)
    module, _, function = handler.rpartition(".")
    handle = getattr(importlib.import_module(module), function)
    # Only now: imports read the time too, and no event is waiting for an answer yet.
    time.time = lambda: float(ask({"time": True}))
    time.sleep = lambda seconds: ask({"sleep": seconds})
    for line in iter(orders.readline, ""):
        order = json.loads(line)
        try:
            answer = {"result": handle(order["event"], Context(order["deadline"]))}
        except Exception as e:
            # https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
            answer = {"error": {"errorMessage": str(e), "errorType": type(e).__name__}}
            print(traceback.format_exc())
        answers.write(json.dumps(answer) + "\n")


def be(environment: dict[str, str], folder: str, handler: str, orders: int, answers: int, log: int) -> None:
    """Becomes the process of a function, with its own environment; its output is the log."""
    os.environ.clear()
    os.environ |= environment
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
    serve(folder, handler, os.fdopen(orders), os.fdopen(answers, "w", buffering=1))


def warm() -> None:
    """Imports what every function imports, and reads the models. The clients themselves are not kept."""
    keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nobody", "region_name": "us-east-1"}
    for service in SERVICES:
        boto3.client(service, **keys)
    gc.collect()
    gc.freeze()  # otherwise the first collection in each process would copy everything


def fork(channel: socket.socket, order: dict[str, Any], files: list[int]) -> int:
    if id := os.fork():
        for file in files:
            os.close(file)
        return id
    status = 1
    try:
        channel.close()
        be(order["environment"], order["folder"], order["handler"], *files)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def end(id: int) -> float:
    """Kills a process and waits for its end; returns the CPU seconds that it used."""
    os.kill(id, signal.SIGKILL)  # even if it has ended: its id is not reused until it has been waited for
    usage = os.wait4(id, 0)[2]
    return usage.ru_utime + usage.ru_stime


def main(channel: socket.socket) -> None:
    """Runs until the parent closes the other end, for example by dying: then the functions end too."""
    warm()
    alive: set[int] = set()
    try:
        while True:
            text, files, _, _ = socket.recv_fds(channel, 1 << 20, 3)
            if not text:
                return
            order = json.loads(text)
            if "end" in order:
                used = end(order["end"])
                alive.discard(order["end"])
                channel.send(str(used).encode())
            else:
                alive.add(id := fork(channel, order, files))
                channel.send(str(id).encode())
    finally:
        for id in alive:
            end(id)


if __name__ == "__main__":
    # A terminal's Ctrl-C is sent to all processes at once; these end when their parent closes the other end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.remove(str(Path(__file__).parent))  # added by Python for the script: no function imports the stand-in
    main(socket.socket(fileno=int(sys.argv[1])))
