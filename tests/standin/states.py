"""AWS Step Functions: standard executions of state machines that run tasks of ECS.

What is due happens when the clock is looked at next, and `settle` looks at each such moment. A rule names the AWS page
it is based on (API: step-functions/latest/apireference, SFN: step-functions/latest/dg); UNCONFIRMED marks what no page
documents. states_language.py has the language. Not here: Wait, Map, Parallel, Pass, versions, aliases, redrives, logs,
quotas.
"""

import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from standin.api import ACCOUNT, REGION, AwsError, Params, plain_copy
from standin.clock import Clock
from standin.dynamodb import DynamoDb
from standin.ecs import Ecs
from standin.events import Events, stamp
from standin.iam import Iam
from standin.provider import Live, Props
from standin.states_language import Failed, camel, caught, check, evaluate, pascal, service_of

ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:"
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForECSTaskRule"
POLL = 10.0
"""Seconds between two looks at a task: SFN connect-to-resource says that it polls, and not how often."""
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass
class Machine:
    definition: Params
    role: str


@dataclass(eq=False)
class Execution:
    arn: str
    machine: str
    definition: Params
    role: str
    input: str
    started: float
    state: str
    data: Any
    """Input of its state."""
    wakes: float
    entered: float
    """When this attempt of its state began."""
    variables: Params = field(default_factory=dict)
    retries: Counter[int] = field(default_factory=Counter)
    """How often its state was retried, by the number of the retrier."""
    task: Params = field(default_factory=dict)
    """`cluster` and `task` of the task of ECS that its state waits for."""
    status: str = "RUNNING"
    stopped: float | None = None
    error: str | None = None
    cause: str | None = None
    output: str | None = None
    path: list[str] = field(default_factory=list)
    """The states that it entered."""

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    def shown(self) -> Params:
        """As ListExecutions has it."""
        stopped = {} if self.stopped is None else {"stopDate": self.stopped}
        named = {"executionArn": self.arn, "stateMachineArn": self.machine, "name": self.name}
        return {**named, "status": self.status, "startDate": self.started, **stopped}


class States:
    def __init__(self, clock: Clock, ecs: Ecs, dynamodb: DynamoDb, events: Events, iam: Iam) -> None:
        self.fails: Callable[[str, Params], str | None] = lambda action, arguments: None
        """The error (`ECS.AmazonECSException`) of a call that a state makes (`ecs:RunTask`), instead of its effect.
        RunTask that answers with failures, as without capacity, has `AmazonECS.Unknown`: SFN connect-ecs."""
        self.list_lag = 0.0
        """Seconds after which a new execution is listed: API API_ListExecutions is eventually consistent."""
        self.executions: list[Execution] = []
        self.machines: dict[str, Machine] = {}
        self._clock, self._ecs, self._dynamodb, self._events, self._iam = clock, ecs, dynamodb, events, iam
        self._lock = threading.RLock()

    # The API

    def start_execution(self, params: Params) -> Params:
        arn, name, given = params["stateMachineArn"], params.get("name", str(uuid.uuid4())), params.get("input", "{}")
        if arn not in self.machines:
            raise AwsError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        if not re.fullmatch(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}", name):
            raise AwsError("InvalidName", f"Invalid Name: '{name}'")
        with self._lock:
            self.live()
            now, machine = self._clock.now(), self.machines[arn]
            execution_arn = f"{arn.replace(':stateMachine:', ':execution:')}:{name}"
            for known in (each for each in self.executions if each.arn == execution_arn):
                # API API_StartExecution: "idempotent for STANDARD workflows" while the execution runs.
                if known.status == "RUNNING" and known.input == given:
                    return {"executionArn": known.arn, "startDate": known.started}
                raise AwsError("ExecutionAlreadyExists", f"Execution Already Exists: '{execution_arn}'")
            start = machine.definition["StartAt"]
            of = arn, machine.definition, machine.role, given
            made = Execution(execution_arn, *of, now, start, json.loads(given), now, now, path=[start])
            self.executions.append(made)
            self._post(made)
            self.live()
        return {"executionArn": made.arn, "startDate": now}

    def stop_execution(self, params: Params) -> Params:
        with self._lock:
            found = self._execution(params)
            if found.status == "RUNNING":
                self._cancel(found)
                self._end(found, "ABORTED", params.get("error"), params.get("cause"))
        return {"stopDate": found.stopped or self._clock.now()}

    def describe_execution(self, params: Params) -> Params:
        found = self._execution(params)
        more = {"error": found.error, "cause": found.cause, "output": found.output}
        shown = {key: value for key, value in more.items() if value is not None}
        return {**found.shown(), "input": found.input, "inputDetails": {"included": True}, **shown}

    def list_executions(self, params: Params) -> Params:
        self.live()
        return self._listed(params)

    def _listed(self, params: Params) -> Params:
        """API API_ListExecutions: "sorted by time, with the most recent execution first"."""
        if params["stateMachineArn"] not in self.machines:
            raise AwsError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{params['stateMachineArn']}'")
        of = [each for each in reversed(self.executions) if each.machine == params["stateMachineArn"]]
        of = [each for each in of if each.started + self.list_lag <= self._clock.now()]
        of = [each for each in of if params.get("statusFilter") in (None, each.status)]
        start = int(params.get("nextToken", 0))
        end = start + (params.get("maxResults") or 100)
        more = {"nextToken": str(end)} if end < len(of) else {}
        return {"executions": [each.shown() for each in of[start:end]], **more}

    def _execution(self, params: Params) -> Execution:
        self.live()
        for each in self.executions:
            if each.arn == params["executionArn"]:
                return each
        raise AwsError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{params['executionArn']}'")

    # Time

    def live(self) -> None:
        """Catches up with the clock."""
        with self._lock:
            for execution in self.executions:
                while execution.status == "RUNNING" and execution.wakes <= self._clock.now():
                    self._step(execution)

    def settle(self) -> None:
        """Lets time pass until no execution runs."""
        self.live()
        while moments := [each.wakes for each in self.executions if each.status == "RUNNING"]:
            self._clock.sleep(max(min(moments) - self._clock.now(), 0.0))
            self.live()

    # Executions

    def _step(self, execution: Execution) -> None:
        state = execution.definition["States"][execution.state]
        try:
            if state["Type"] == "Task":
                self._task(execution, state)
            elif state["Type"] == "Choice":
                conditions = [each["Condition"] for each in state["Choices"]]
                met = [evaluate(each, self._states(execution), execution.variables) is True for each in conditions]
                if True not in met and "Default" not in state:
                    raise Failed("States.NoChoiceMatched", "No choice rule matched.")
                self._enter(execution, state["Choices"][met.index(True)]["Next"] if True in met else state["Default"])
            elif state["Type"] == "Succeed":
                self._end(execution, "SUCCEEDED", output=json.dumps(execution.data))
            else:
                wanted = {key: state[key] for key in ("Error", "Cause") if key in state}
                found = evaluate(wanted, self._states(execution), execution.variables)
                self._end(execution, "FAILED", found.get("Error"), found.get("Cause"))
        except Failed as problem:
            self._handle(execution, state, problem)

    def _task(self, execution: Execution, state: Params) -> None:
        if not execution.task:
            execution.entered = self._clock.now()
            arguments = evaluate(state.get("Arguments", {}), self._states(execution), execution.variables)
            result = self._call(execution, state["Resource"], arguments)
            if not execution.task:
                self._succeed(execution, state, result)
                return
        self._wait(execution, state)

    def _wait(self, execution: Execution, state: Params) -> None:
        """SFN connect-to-resource: with `.sync`, the state waits for the end of the task.

        A timeout does not stop the task here: the page promises an attempt only for executions that are stopped, and
        for branches of Parallel and Map. UNCONFIRMED: that it succeeds if all containers exit with 0, and that the
        time of an attempt begins with it.
        """
        deadline, now = execution.entered + state["TimeoutSeconds"], self._clock.now()
        cluster, arn = execution.task["cluster"], execution.task["task"]
        self._may(execution, "ecs:DescribeTasks", arn, {"ecs:cluster": cluster}, "ECS")
        [task] = self._ecs.describe_tasks({"cluster": cluster, "tasks": [arn]})["tasks"]
        if task["lastStatus"] != "STOPPED" or task["stoppedAt"] > deadline:
            if now >= deadline:
                execution.task = {}
                raise Failed("States.Timeout")
            execution.wakes = min(now + POLL, deadline)
            return
        execution.task = {}
        if any(container.get("exitCode") != 0 for container in task["containers"]):
            raise Failed("States.TaskFailed", json.dumps(pascal(task)))
        self._succeed(execution, state, pascal(task))

    def _succeed(self, execution: Execution, state: Params, result: Any) -> None:
        known = self._states(execution, result=result)
        assigned = evaluate(state.get("Assign", {}), known, execution.variables)
        execution.data = evaluate(state["Output"], known, execution.variables) if "Output" in state else result
        execution.variables |= assigned
        if "Next" in state:
            self._enter(execution, state["Next"])
        else:
            self._end(execution, "SUCCEEDED", output=json.dumps(execution.data))

    def _handle(self, execution: Execution, state: Params, problem: Failed) -> None:
        """SFN concepts-error-handling: the first retrier that names the error, then the first catcher."""
        number = caught(state.get("Retry", []), problem.error)
        retrier = {} if number is None else state["Retry"][number]
        if number is not None and execution.retries[number] < retrier.get("MaxAttempts", 3):
            delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** execution.retries[number]
            execution.retries[number] += 1
            # The longest, if it is random (JitterStrategy).
            execution.wakes = self._clock.now() + min(delay, retrier.get("MaxDelaySeconds", delay))
            return
        catcher = caught(state.get("Catch", []), problem.error)
        if catcher is None:
            self._end(execution, "FAILED", problem.error, problem.cause)
            return
        execution.data = {"Error": problem.error, "Cause": problem.cause}
        self._enter(execution, state["Catch"][catcher]["Next"])

    def _enter(self, execution: Execution, state: str) -> None:
        execution.path.append(state)
        execution.state, execution.entered = state, self._clock.now()
        execution.wakes, execution.retries = execution.entered, Counter()

    def _end(
        self,
        execution: Execution,
        status: str,
        error: str | None = None,
        cause: str | None = None,
        output: str | None = None,
    ) -> None:
        execution.status, execution.stopped = status, self._clock.now()
        execution.error, execution.cause, execution.output = error, cause, output
        self._post(execution)

    def _post(self, execution: Execution) -> None:
        """SFN eventbridge-integration: `detail` is what DescribeExecution returns, with times in milliseconds."""
        stopped = execution.stopped
        detail: Params = {"executionArn": execution.arn, "stateMachineArn": execution.machine, "name": execution.name}
        detail |= {"status": execution.status, "startDate": int(execution.started * 1000)}
        detail |= {"stopDate": None if stopped is None else int(stopped * 1000), "input": execution.input}
        detail |= {"inputDetails": {"included": True}, "output": execution.output}
        detail |= {"error": execution.error, "cause": execution.cause}
        self._events.post("aws.states", "Step Functions Execution Status Change", detail, execution.arn)

    def _cancel(self, execution: Execution) -> None:
        """SFN connect-to-resource: "a best-effort attempt to cancel the task" of an execution that is stopped."""
        if not execution.task:
            return
        context = {"ecs:cluster": execution.task["cluster"]}
        try:
            self._may(execution, "ecs:StopTask", execution.task["task"], context, "ECS")
        except Failed:
            return
        self._ecs.stop_task(execution.task)

    def _states(self, execution: Execution, **more: Any) -> Params:
        """`$states`: SFN transforming-data, and input-output-contextobject for the context."""
        iso = "%Y-%m-%dT%H:%M:%S.%f"
        about: Params = {"Id": execution.arn, "Name": execution.name, "RoleArn": execution.role}
        about |= {"Input": json.loads(execution.input), "StartTime": stamp(execution.started, iso)[:-3] + "Z"}
        entered = stamp(execution.entered, iso)[:-3] + "Z"
        state = {"Name": execution.state, "EnteredTime": entered, "RetryCount": execution.retries.total()}
        machine = {"Id": execution.machine, "Name": execution.machine.rpartition(":")[2]}
        context = {"Execution": about, "State": state, "StateMachine": machine}
        return {"input": execution.data, "context": context, **more}

    # Calls

    def _call(self, execution: Execution, resource: str, arguments: Params) -> Any:
        service, operation, sdk, sync = service_of(resource)
        prefix = service.capitalize() if sdk else {"ecs": "ECS", "dynamodb": "DynamoDB"}[service]
        action = f"{ {'sfn': 'states'}.get(service, service) }:{operation}"
        self._events.note(execution.role, "stepfunctions" if service == "sfn" else service, operation, arguments)
        if error := self.fails(action, arguments):
            raise Failed(error, f"{action} failed")
        try:
            if service == "dynamodb":
                return self._get_item(execution, arguments, prefix)
            if service == "ecs":
                return self._ecs_call(execution, operation, camel(arguments), prefix, sync)
            return self._list(execution, operation, camel(arguments), prefix)
        except AwsError as e:
            raise Failed(f"{prefix}.{e.code}", e.message) from None

    def _may(self, execution: Execution, action: str, resource: str, context: Params, prefix: str) -> None:
        """SFN procedure-create-iam-role: the calls of a state are made with the role of the state machine."""
        session = execution.name[:64]
        try:
            self._iam.check(execution.role, session, action, resource, context)
        except AwsError as e:
            raise Failed(f"{prefix}.{e.code}", e.message) from None

    def _get_item(self, execution: Execution, arguments: Params, prefix: str) -> Params:
        table = self._dynamodb.describe_table({"TableName": arguments["TableName"]})["Table"]
        [partition] = [key["AttributeName"] for key in table["KeySchema"] if key["KeyType"] == "HASH"]
        # DDB specifying-conditions: the partition keys that the request names.
        keys = {"dynamodb:LeadingKeys": [*arguments["Key"][partition].values()]}
        self._may(execution, "dynamodb:GetItem", table["TableArn"], keys, prefix)
        return self._dynamodb.get_item(arguments)

    def _ecs_call(self, execution: Execution, operation: str, given: Params, prefix: str, sync: bool) -> Params:
        cluster = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{given['cluster'].rpartition('/')[2]}"
        of, tasks = {"ecs:cluster": cluster}, f"{cluster.replace(':cluster/', ':task/')}/"
        if operation == "RunTask":
            self._may_run(execution, given, of, tasks, prefix)
            answer = self._ecs.run_task(given)
            execution.task = {"cluster": cluster, "task": answer["tasks"][0]["taskArn"]}
        elif operation == "ListTasks":
            # SAR list_amazonelasticcontainerservice: its resource is a container instance.
            self._may(execution, "ecs:ListTasks", "*", of, prefix)
            answer = self._ecs.list_tasks(given)
        elif operation == "DescribeTasks":
            for task in given["tasks"]:
                self._may(execution, "ecs:DescribeTasks", task, of, prefix)
            answer = self._ecs.describe_tasks(given)
        else:
            self._may(execution, "ecs:StopTask", given["task"], of, prefix)
            answer = self._ecs.stop_task(given)
        result: Params = pascal(plain_copy(answer))
        return result

    def _may_run(self, execution: Execution, given: Params, of: Params, tasks: str, prefix: str) -> None:
        definition = self._ecs.describe_task_definition({"taskDefinition": given["taskDefinition"]})["taskDefinition"]
        self._may(execution, "ecs:RunTask", definition["taskDefinitionArn"], of, prefix)
        passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
        for key in ("executionRoleArn", "taskRoleArn"):
            if key in definition:
                self._may(execution, "iam:PassRole", definition[key], passed, prefix)
        if given.get("propagateTags", "NONE") != "NONE":
            # DG supported-iam-actions-tagging: a call that creates with tags needs TagResource. UNCONFIRMED: that tags
            # which are propagated count.
            self._may(execution, "ecs:TagResource", f"{tasks}new", {**of, "ecs:CreateAction": "RunTask"}, prefix)

    def _list(self, execution: Execution, operation: str, given: Params, prefix: str) -> Params:
        assert operation == "ListExecutions", operation
        self._may(execution, "states:ListExecutions", given["stateMachineArn"], {}, prefix)
        answer = self._listed(given)
        for each in answer["executions"]:
            # UNCONFIRMED: times of AWS SDK integrations are text in ISO 8601.
            each["startDate"] = stamp(each["startDate"], "%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        result: Params = pascal(answer)
        return result


class StateMachine(Live):
    """`aws.sfn.StateMachine`: refused if Step Functions could not run it with its role."""

    def __init__(self, states: States, iam: Iam) -> None:
        self._states, self._iam = states, iam

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        arn = f"{ARN}stateMachine:{inputs['name']}"
        if arn in self._states.machines:
            raise RuntimeError(f"creating Step Functions State Machine: StateMachineAlreadyExists: '{arn}'")
        self._states.machines[arn] = self._checked(arn, inputs)
        return arn, {"arn": arn, "status": "ACTIVE"}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        """API API_UpdateStateMachine: "Running executions will continue to use the previous definition and roleArn"."""
        self._states.machines[id] = self._checked(id, news)
        return {}

    def delete(self, id: str, state: Props) -> None:
        self._states.machines.pop(id, None)

    def _checked(self, arn: str, inputs: Props) -> Machine:
        what = f"Step Functions State Machine ({inputs['name']})"
        if not re.fullmatch(r"[\w-]{1,80}", inputs["name"], re.ASCII):
            raise RuntimeError(f"{what}: InvalidName: Invalid Name: '{inputs['name']}'")
        try:
            definition = check(inputs["definition"])
        except ValueError as e:
            raise RuntimeError(f"{what}: InvalidDefinition: Invalid State Machine Definition: '{e}'") from None
        role = inputs["roleArn"]
        if not self._iam.trusts(role, "states.amazonaws.com", arn):
            # As people quote it.
            message = "Neither the global service principal states.amazonaws.com, nor the regional one is authorized "
            message += f"to assume the provided role: {role}"
            raise RuntimeError(f"{what}: AccessDeniedException: {message}")
        if any(state.get("Resource", "").endswith(".sync") for state in definition["States"].values()):
            # As people quote it: SFN makes the rule that tells it of the end of tasks with the machine's role.
            for action in ("PutTargets", "PutRule", "DescribeRule"):
                try:
                    self._iam.check(role, "states", f"events:{action}", RULE, {})
                except AwsError:
                    message = f"'{role}' is not authorized to create managed-rule."
                    raise RuntimeError(f"{what}: AccessDeniedException: {message}") from None
        return Machine(definition, role)
