"""The rules of the stand-in for the processes of Lambda functions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin.api import Api
from standin.clock import Clock
from standin.lambdas import FUNCTION, FunctionError, Lambdas
from standin.provider import Aws, Resource

CODE = """
import os, sys, time

calls = 0

def handle(event, context):
    global calls
    calls += 1
    {body}
"""


class Functions:
    """An account with functions, defined by the body of their handler."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self.clock, self._aws = clock, Aws()
        self.lambdas = Lambdas(self._aws, api, clock)

    def put(self, body: str, name: str = "function", **more: Any) -> None:
        code = {"assets": {"package/index.py": {"text": CODE.format(body=body)}}}
        given = {"name": name, "code": code, "handler": "package.index.handle", "role": "role", "timeout": 60.0, **more}
        self._aws.resources[name] = Resource(f"urn::{name}", FUNCTION, name, given, {})

    def __call__(self, name: str = "function") -> Any:
        return self.lambdas.invoke(name, {})


@pytest.fixture
def functions() -> Iterator[Functions]:
    clock = Clock()
    with Api(clock) as api:
        made = Functions(api, clock)
        yield made
        made.lambdas.close()


def is_there(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_a_function_is_warm_for_the_next_event_until_its_code_or_its_environment_changes(functions: Functions) -> None:
    functions.put("return os.getpid(), calls")
    (first, _), second = functions(), functions()
    assert second == [first, 2]
    functions.put("return os.getpid(), calls", environment={"variables": {"LEVEL": "info"}})
    changed, calls = functions()
    assert (changed != first, calls) == (True, 1)


def test_a_function_has_its_own_environment_and_no_modules_of_the_stand_in(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "yes")
    keys = "sorted(k for k in os.environ if not k.startswith('AWS_'))"
    functions.put(f"return {keys}, 'standin' in str(sys.path)", environment={"variables": {"LEVEL": "info"}})
    assert functions() == [["LEVEL", "PATH"], False]


def test_the_output_of_a_function_is_logged_and_its_clock_is_the_stand_ins(functions: Functions) -> None:
    functions.put("print('a line'); time.sleep(7); return time.time()")
    began = functions.clock.now()
    assert functions() == functions.clock.now() == began + 7
    assert functions.lambdas.log_path.read_text() == "a line\n"


def test_a_function_that_exits_is_an_error_and_its_next_invocation_has_a_new_process(functions: Functions) -> None:
    functions.put("os._exit(3)")
    for _ in range(2):
        with pytest.raises(FunctionError, match="the function's process ended"):
            functions()


def test_an_interrupted_invocation_leaves_no_process(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    functions.put("print(os.getpid()); time.sleep(1)")

    def cut(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(functions.clock, "sleep", cut)
        with pytest.raises(KeyboardInterrupt):
            functions()
    assert not is_there(int(functions.lambdas.log_path.read_text()))


def test_no_process_of_a_function_outlives_its_account(functions: Functions) -> None:
    functions.put("return os.getpid()", "a")
    functions.put("return os.getpid()", "b")
    processes = [functions("a"), functions("b")]
    assert [is_there(process) for process in processes] == [True, True]
    functions.lambdas.close()
    assert [is_there(process) for process in processes] == [False, False]
    assert is_there(os.getpid())
