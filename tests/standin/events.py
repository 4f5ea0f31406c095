"""Delivery of events: EventBridge and SNS, as deployed.

A rule names the AWS page it is based on (EB: eventbridge/latest/userguide, CP: codepipeline/latest/userguide);
UNCONFIRMED marks what no page documents.
"""

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from standin.api import ACCOUNT, REGION, Api, Call, Params
from standin.clock import Clock
from standin.lambdas import FunctionError, Lambdas
from standin.provider import Aws, Live, Props, Resource

RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
PERMISSION = "aws:lambda/permission:Permission"


class Events:
    def __init__(self, aws: Aws, api: Api, clock: Clock, lambdas: Lambdas) -> None:
        self._aws, self._api, self._clock, self._lambdas = aws, api, clock, lambdas
        self.live: Callable[[], None] = lambda: None
        """Makes services post their events up to now, before events are delivered."""
        self.lost: Callable[[Params], bool] = lambda event: False
        self.delay: Callable[[Params], float] = lambda event: 0.0
        self.copies: Callable[[Params], int] = lambda event: 1
        """EB eb-service-event-delivery: services send on a best-effort or an at-least-once basis. Which posted events
        are lost, how many seconds late they are, and how often they are delivered; `event` is the whole event."""
        self.posted: list[Params] = []
        """Every event that was posted, lost or not."""
        self._due: list[tuple[float, Params]] = []
        self._delivering = threading.Lock()

    @property
    def published(self) -> list[Params]:
        """Messages sent to topics: `topic`, `subject` if there is one, and `message`, parsed if it is JSON."""
        sent = []
        for call in self._api.calls:
            if (call.service, call.operation, call.error) == ("sns", "Publish", None):
                subject = {"subject": call.params["Subject"]} if "Subject" in call.params else {}
                sent.append({"topic": call.params["TopicArn"], "message": _parsed(call.params["Message"]), **subject})
        return sent

    def all(self, type: str) -> list[Resource]:
        return [resource for resource in list(self._aws.resources.values()) if resource.type == type]

    def note(self, principal: str, service: str, operation: str, params: Params) -> None:
        """Records a call that a principal makes without a client."""
        self._api.calls.append(Call(principal, service, operation, params, self._clock.now(), None))

    def emit(self, source: str, detail_type: str, detail: Params, *resources: str) -> list[tuple[Resource, Params]]:
        """Sends an event at once to the functions that rules target. Returns the inputs of targets of other kinds."""
        return self._give(self._event(source, detail_type, detail, self._clock.now(), *resources))

    def post(self, source: str, kind: str, detail: Params, resource: str, at: float | None = None) -> None:
        """Queues an event for `deliver`.

        This calls nothing, so that a service may post while it holds its own lock: a function that the event invokes,
        and that calls the same service, runs when `deliver` is called without that lock. CodePipeline does so when it
        waits and when something in an execution starts or ends; a test does so with World.deliver.
        """
        event = self._event(source, kind, detail, self._clock.now() if at is None else at, resource)
        self.posted.append(event)
        if not self.lost(event):
            self._due += [(self._clock.now() + self.delay(event), event)] * self.copies(event)

    def deliver(self) -> list[tuple[Resource, Params]]:
        """Delivers the events that are due, oldest first, and those that they cause; returns the same as `emit`.

        A caller that comes while this is running, even a function that it runs, leaves the events to it.
        """
        inputs: list[tuple[Resource, Params]] = []
        if not self._delivering.acquire(blocking=False):
            return inputs
        try:
            while True:
                self.live()
                due = [entry for entry in self._due if entry[0] <= self._clock.now()]
                if not due:
                    return inputs
                entry = min(due, key=lambda entry: entry[0])
                self._due.remove(entry)
                inputs += self._give(entry[1])
        finally:
            self._delivering.release()

    def deployment(self, name: str, service: str, deployment: str, reason: str, at: float) -> None:
        """Posts the state change of a deployment: AmazonECS developerguide ecs_service_deployment_events."""
        kind = "ERROR" if name == "SERVICE_DEPLOYMENT_FAILED" else "INFO"
        detail = {"eventType": kind, "eventName": name, "deploymentId": deployment, "reason": reason}
        detail["updatedAt"] = stamp(at, "%Y-%m-%dT%H:%M:%SZ")
        self.post("aws.ecs", "ECS Deployment State Change", detail, service, at)

    def _event(self, source: str, kind: str, detail: Params, at: float, *resources: str) -> Params:
        event: Params = {"version": "0", "id": str(uuid.uuid4()), "detail-type": kind, "source": source}
        event |= {"account": ACCOUNT, "region": REGION, "time": stamp(at, "%Y-%m-%dT%H:%M:%SZ"), "detail": detail}
        return event | {"resources": list(resources)}

    def _give(self, event: Params) -> list[tuple[Resource, Params]]:
        rules = [rule for rule in self.all(RULE) if "eventPattern" in rule.inputs]
        patterns = {
            rule.inputs["name"]: rule for rule in rules if matches(json.loads(rule.inputs["eventPattern"]), event)
        }
        inputs = []
        for target in self.all(TARGET):
            rule = patterns.get(target.inputs["rule"])
            if rule is None or rule.inputs.get("state", "ENABLED") != "ENABLED":
                continue
            given = _transformed(target.inputs, event)
            if ":function:" not in target.inputs["arn"]:
                inputs.append((target, given))
            # EB eb-use-resource-based, eb-troubleshooting: without a permission the event is dropped.
            elif self._may_invoke(target.inputs["arn"], rule.outputs["arn"]):
                self.invoke(target.inputs["arn"].rpartition(":")[2], given)
        return inputs

    def _may_invoke(self, function: str, rule: str) -> bool:
        return any(
            permission.inputs["principal"] == "events.amazonaws.com"
            and permission.inputs["action"] == "lambda:InvokeFunction"
            and permission.inputs["function"].rpartition(":")[2] == function.rpartition(":")[2]
            and permission.inputs.get("sourceArn", rule) == rule
            for permission in self.all(PERMISSION)
        )

    def invoke(self, function: str, event: Params, done: Callable[[], bool] = lambda: False) -> str:
        """Runs a function until it does not raise, or is `done` despite that; returns its errors.

        "Lambda tries an asynchronous event three times in all":
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        log = ""
        for wait in (60.0, 120.0, None):
            try:
                self._lambdas.invoke(function, event)
                break
            except FunctionError as e:
                log += f"{e}\n"
                if done() or wait is None:
                    break
                self._clock.sleep(wait)
        return log

    def time(self) -> str:
        return stamp(self._clock.now(), "%Y-%m-%dT%H:%M:%SZ")


class Topic(Live):
    """A topic that functions publish to."""

    def __init__(self, sns: Any) -> None:
        self._sns = sns

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        return "", {"arn": self._sns.create_topic(Name=inputs["name"])["TopicArn"]}

    def delete(self, id: str, state: Props) -> None:
        self._sns.delete_topic(TopicArn=id)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def stamp(seconds: float, form: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def _several(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _transformed(target: Params, event: Params) -> Params:
    """The input of a target for an event: EB eb-transform-target-input."""
    if "inputTransformer" not in target:
        return event
    text = target["inputTransformer"]["inputTemplate"]
    for name, path in target["inputTransformer"].get("inputPaths", {}).items():
        value: Any = event
        for key in path.removeprefix("$.").split("."):
            value = value[key]
        text = re.sub(f'"<{name}>"|<{name}>', lambda _, value=value: json.dumps(value), text)  # type: ignore[misc]
    made: Params = json.loads(text)
    return made


def matches(pattern: Any, event: Any) -> bool:
    """EB eb-event-patterns and, for `$or`, eb-create-pattern-operators; values must be equal; other comparisons
    (`prefix`) are not in the stand-in."""
    if isinstance(pattern, dict):
        if "$or" in pattern:
            rest = {key: inner for key, inner in pattern.items() if key != "$or"}
            return matches(rest, event) and any(matches(each, event) for each in pattern["$or"])
        return all(key in event and matches(inner, event[key]) for key, inner in pattern.items())
    return bool(set(pattern) & set(event if isinstance(event, list) else [event]))


def glob(pattern: str, text: str) -> bool:
    """CP syntax-glob: `*` and `?` match within a path segment, `**` across them; also sets, alternatives and `\\`."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    tokens = re.findall(r"\\.|\[[^]]*\]|\*\*|.", pattern)
    depth, made = 0, ""
    for token in tokens:
        depth += (token == "{") - (token == "}")
        literal = token.startswith(("\\", "[")) or (token == "," and depth == 0)
        made += (token if token[0] in "\\[" else re.escape(token)) if literal else parts.get(token, re.escape(token))
    return bool(re.fullmatch(made, text))


def triggered(definition: Params, facts: Params) -> bool:
    """Whether the triggers of a pipeline match a push.

    CP pipelines-filter: OR between the filters, AND inside one; an exclusion overrides every inclusion.
    """
    return any(
        _filtered(entry, facts)
        for trigger in definition.get("triggers", [])
        for entry in trigger["gitConfiguration"].get("pushes", [])
    )


def _filtered(entry: Params, facts: Params) -> bool:
    # A tag is not a branch: each filter is for one or the other.
    kind = "tags" if "tags" in facts else "branches"
    if bool(entry.get("tags")) != (kind == "tags"):
        return False
    if not _included(entry.get(kind, {}), facts[kind]):
        return False
    files = facts.get("files")
    # CP pipelines-triggers: the first 100 files that changed. UNCONFIRMED: that one included file among excluded ones
    # is enough.
    return files is None or "filePaths" not in entry or any(_included(entry["filePaths"], f) for f in files[:100])


def _included(criteria: Params, text: str) -> bool:
    if any(glob(pattern, text) for pattern in criteria.get("excludes", [])):
        return False
    return not criteria.get("includes") or any(glob(pattern, text) for pattern in criteria["includes"])
