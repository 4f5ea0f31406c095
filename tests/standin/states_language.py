"""Amazon States Language, as far as state machines here use it: what a definition may hold, and JSONata.

Pages are named as in states.py. Only JSONata, and only the states and fields below: a definition with another one is
refused, so that none is ignored.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.loaders import UnknownServiceError
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from moto.core.utils import get_service_model

from standin.api import Params

# The statement of a state: (required, optional) fields. SFN statemachine-structure, state-task, state-choice,
# state-succeed, state-fail; `Comment` may be in each.
FIELDS = {
    "Task": ({"Resource"}, {"Arguments", "Assign", "Output", "TimeoutSeconds", "Retry", "Catch", "Next", "End"}),
    "Choice": ({"Choices"}, {"Default"}),
    "Succeed": (set[str](), set[str]()),
    "Fail": (set[str](), {"Error", "Cause"}),
}
RETRY = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}
# SFN connect-ecs, as it listed them in 2022, and what came since (PropagateTags, EnableExecuteCommand,
# CapacityProviderStrategy: aws-cdk's EcsRunTask). UNCONFIRMED: that no other is accepted.
RUN_TASK = {"Cluster", "Group", "LaunchType", "NetworkConfiguration", "Overrides", "PlacementConstraints"}
RUN_TASK |= {"PlacementStrategy", "PlatformVersion", "TaskDefinition", "PropagateTags", "EnableExecuteCommand"}
RUN_TASK |= {"CapacityProviderStrategy"}
RESOURCE = re.compile(r"arn:(aws[\w-]*):states:::(aws-sdk:)?(\w+):(\w+?)(\.sync)?")
OPTIMIZED = {("dynamodb", "getItem", ""), ("ecs", "runTask", ".sync")}
"""Optimized integrations that are in the stand-in: SFN integrate-optimized."""
EXPRESSION = re.compile(r"\{%(.*)%\}", re.DOTALL)
"""SFN transforming-data: a string that begins with `{%` and ends with `%}`."""


class Failed(Exception):
    """A state's error: its name and its cause."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


def service_of(resource: str) -> tuple[str, str, bool, bool]:
    """Service, operation (`RunTask`), whether it is one of the AWS SDK, and whether the state waits for a job."""
    parts = RESOURCE.fullmatch(resource)
    if not parts:
        raise ValueError(f"The resource provided {resource} is not recognized.")
    _, sdk, service, operation, sync = parts.groups()
    if not sdk and (service, operation, sync or "") not in OPTIMIZED:
        raise ValueError(f"The resource provided {resource} is not recognized.")
    return service, operation[0].upper() + operation[1:], bool(sdk), bool(sync)


def check(text: str) -> Params:
    """The definition, if Step Functions accepts it: API API_CreateStateMachine, InvalidDefinition.

    Raises ValueError. UNCONFIRMED: the messages.
    """
    definition: Params = json.loads(text)
    if definition.get("QueryLanguage") != "JSONata":
        raise ValueError("only JSONata is in the stand-in")
    unknown = definition.keys() - {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds"}
    if unknown or definition.get("StartAt") not in definition.get("States", {}):
        raise ValueError(f"SCHEMA_VALIDATION_FAILED: StartAt or {sorted(unknown)}")
    reached = {definition["StartAt"]}
    for name, state in definition["States"].items():
        if len(name) > 80:  # SFN statemachine-structure
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: the name {name} is too long")
        reached |= _check_state(name, state)
    if reached != definition["States"].keys():  # a state that does not exist, or is never reached
        raise ValueError(f"MISSING_TRANSITION_TARGET: {sorted(reached ^ definition['States'].keys())}")
    return definition


def _check_state(name: str, state: Params) -> set[str]:
    """Checks a state; returns the states that can follow it."""
    required, optional = FIELDS.get(state.get("Type", ""), ({"Type"}, set[str]()))
    unknown = state.keys() - required - optional - {"Type", "Comment"}
    if unknown or not required <= state.keys():
        raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name}: {sorted(unknown | required - state.keys())}")
    _compile(state)
    following = {rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])]}
    following |= {state[key] for key in ("Next", "Default") if key in state}
    if state["Type"] == "Task":
        if ("Next" in state) == ("End" in state):
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name} needs one of Next and End")
        _check_rules(name, state)
        _check_arguments(name, state)
    for rule in state.get("Choices", []):
        if rule.keys() != {"Condition", "Next"} or not EXPRESSION.fullmatch(str(rule["Condition"])):
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name}: a choice needs a condition, got {rule}")
    return following


def _check_rules(name: str, state: Params) -> None:
    """SFN concepts-error-handling: the fields and limits of retriers and catchers."""
    for rule in [*state.get("Retry", []), *state.get("Catch", [])]:
        errors = rule.get("ErrorEquals", [])
        if not errors or ("States.ALL" in errors and len(errors) > 1):
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name}: ErrorEquals {errors}")
    for retrier in state.get("Retry", []):
        fine = retrier.get("IntervalSeconds", 1) >= 1 and retrier.get("BackoffRate", 2.0) >= 1
        fine = fine and 0 <= retrier.get("MaxAttempts", 3) <= 99_999_999
        longest = retrier.get("MaxDelaySeconds", 31_622_400)
        fine = fine and retrier.get("IntervalSeconds", 1) < longest <= 31_622_400
        if not fine or retrier.keys() - RETRY or retrier.get("JitterStrategy", "NONE") not in ("NONE", "FULL"):
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name}: {retrier}")
    for catcher in state.get("Catch", []):
        if catcher.keys() - {"ErrorEquals", "Next", "Assign", "Output"}:
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {name}: {catcher}")


def _check_arguments(name: str, state: Params) -> None:
    """SFN connect-parameters: names are in PascalCase, and those of the operation."""
    service, operation, sdk, sync = service_of(state["Resource"])
    try:
        model = get_service_model("stepfunctions" if service == "sfn" else service).operation_model(operation)
    except UnknownServiceError:
        raise ValueError(f"The resource provided {state['Resource']} is not recognized.") from None
    shape = model.input_shape
    known = RUN_TASK if sync else {key[0].upper() + key[1:] for key in (shape.members if shape else {})}
    unknown = state.get("Arguments", {}).keys() - known
    if unknown:
        raise ValueError(f"The field {sorted(unknown)} is not supported by Step Functions.")
    if sync and "TimeoutSeconds" not in state:
        raise ValueError(f"{name} would wait for a year")  # a rule of ours: SFN sfn-best-practices


def _compile(value: Any) -> None:
    if isinstance(value, Mapping):
        for each in value.values():
            _compile(each)
    elif isinstance(value, list):
        for each in value:
            _compile(each)
    elif isinstance(value, str) and (found := EXPRESSION.fullmatch(value)):
        try:
            Jsonata(found[1])
        except JException as e:
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {value}: {e}") from None
        if re.search(r"\$(?![\w])", re.sub(r"\"[^\"]*\"|'[^']*'", "", found[1])):
            # SFN transforming-data: `$` and `$$` are restricted at the top level.
            raise ValueError(f"SCHEMA_VALIDATION_FAILED: {value}: $ is not supported")


def evaluate(value: Any, states: Params, variables: Params) -> Any:
    """The value, with the result of each expression in it.

    SFN transforming-data: an expression without a result is an error of its own. Raises Failed.
    """
    if isinstance(value, Mapping):
        return {key: evaluate(each, states, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [evaluate(each, states, variables) for each in value]
    found = EXPRESSION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    expression = Jsonata(found[1])
    frame = expression.create_frame()
    for name, known in {**variables, "states": states}.items():
        frame.bind(name, known)
    try:
        result = expression.evaluate(None, frame)
    except (JException, ValueError, TypeError) as e:
        what = f"The JSONata expression '{found[1].strip()}' failed: {e}"
        raise Failed("States.QueryEvaluationError", what) from None
    if result is None:
        what = f"The JSONata expression '{found[1].strip()}' returned nothing (undefined)."
        raise Failed("States.QueryEvaluationError", what)
    return json.loads(json.dumps(result))  # plain lists


def pascal(value: Any) -> Any:
    """With the names of an API in PascalCase, as Step Functions has them: SFN connect-parameters."""
    if isinstance(value, Mapping):
        return {key[0].upper() + key[1:]: pascal(each) for key, each in value.items()}
    return [pascal(each) for each in value] if isinstance(value, list) else value


def camel(value: Any) -> Any:
    """The reverse of `pascal`."""
    if isinstance(value, Mapping):
        return {key[0].lower() + key[1:]: camel(each) for key, each in value.items()}
    return [camel(each) for each in value] if isinstance(value, list) else value


def caught(rules: list[Params], error: str) -> int | None:
    """The number of the first retrier or catcher for an error.

    SFN concepts-error-handling: States.TaskFailed is any error of a task but States.Timeout, States.ALL any error.
    """
    for number, rule in enumerate(rules):
        names = rule["ErrorEquals"]
        if error in names or "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout"):
            return number
    return None
