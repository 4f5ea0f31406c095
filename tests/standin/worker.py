"""Runs one Lambda function in a process of its own, as Lambda does: warm for the next event, and with its own modules.

Speaks with lambdas.py in lines of JSON over its first standard output and its standard input; time is the stand-in's.
"""

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what the function prints is its log


def ask(question: dict[str, Any]) -> Any:
    answers.write(json.dumps(question) + "\n")
    return json.loads(sys.stdin.readline())


class Context:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.time()) * 1000)


def serve(folder: str, handler: str) -> None:
    sys.path.insert(0, folder)
    module, _, function = handler.rpartition(".")
    handle = getattr(importlib.import_module(module), function)
    # Only now: what is imported asks for the time too, and no event gives an answer yet.
    time.time = lambda: float(ask({"time": True}))
    time.sleep = lambda seconds: ask({"sleep": seconds})
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        try:
            answer = {"result": handle(order["event"], Context(order["deadline"]))}
        except Exception as e:
            # https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
            answer = {"error": {"errorMessage": str(e), "errorType": type(e).__name__}}
            print(traceback.format_exc())
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve(*sys.argv[1:])
