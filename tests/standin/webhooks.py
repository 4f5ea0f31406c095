"""CodeBuild's webhooks: what happens to a pull request starts builds of the projects that are deployed for it.

CB: codebuild/latest/userguide; webhooks.html, github-webhook.html, pull-request-build-policy.html.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from standin.api import Params
from standin.codebuild import PROJECT, Built, Clone, CodeBuild
from standin.events import Events
from standin.live import Connection
from standin.provider import Aws, Live, Props

WEBHOOK = "aws:codebuild/webhook:Webhook"


@dataclass(frozen=True)
class PullRequest:
    """A pull request on GitHub: `commit`, in the repository in `folder`, is to be merged into `base`."""

    repository: str
    folder: Path
    commit: str
    base: str = "main"
    fork: bool = False
    author: str = "GITHUB_WRITE"
    """Role of its author in the repository."""
    number: int = 1


@dataclass(frozen=True)
class Status:
    """What the provider shows beside a commit."""

    commit: str
    context: str
    state: str


class Webhooks:
    def __init__(self, codebuild: CodeBuild, events: Events) -> None:
        self._codebuild, self._events = codebuild, events
        self.statuses: list[Status] = []
        """All that were reported, in order."""

    def happened(self, event: str, request: PullRequest) -> list[Built]:
        """Runs the builds that an event of a pull request starts, such as PULL_REQUEST_CREATED."""
        return [
            self._build(hook, event, request)
            for hook in self._hooks(event, request)
            if not _needs_approval(hook, request)
        ]

    def commented(self, text: str, role: str, request: PullRequest) -> list[Built]:
        """Runs the builds that somebody with this role in the repository approves with a comment.

        CB pull-request-build-policy: the comment names the commit that was looked at. UNCONFIRMED: that the filters
        apply as they do when the pull request is opened.
        """
        return [
            self._build(hook, "PULL_REQUEST_CREATED", request)
            for hook in self._hooks("PULL_REQUEST_CREATED", request)
            if text == f"/codebuild_run({request.commit})" and role in hook["pullRequestBuildPolicy"]["approverRoles"]
        ]

    def _hooks(self, event: str, request: PullRequest) -> list[Params]:
        """The webhooks of the repository with a filter group that matches: OR between groups, AND in one."""
        facts = {"EVENT": event, "BASE_REF": f"refs/heads/{request.base}"}
        return [
            resource.inputs
            for resource in self._events.all(WEBHOOK)
            if self._project(resource.inputs)["source"]["location"].endswith(f"/{request.repository}.git")
            and any(all(_matches(f, facts) for f in group["filters"]) for group in resource.inputs["filterGroups"])
        ]

    def _project(self, hook: Params) -> Params:
        [found] = [r.inputs for r in self._events.all(PROJECT) if r.inputs["name"] == hook["projectName"]]
        return found

    def _build(self, hook: Params, event: str, request: PullRequest) -> Built:
        project = self._project(hook)
        # CB connections-github-app: the project's role reads the repository through the connection.
        connection = {"connectionArn": project["source"]["auth"]["resource"]}
        for operation in ("GetConnection", "GetConnectionToken"):
            self._events.note(project["serviceRole"], "codeconnections", operation, connection)
        # CB build-env-ref-env-vars
        variables = {
            "CODEBUILD_WEBHOOK_EVENT": event,
            "CODEBUILD_WEBHOOK_TRIGGER": f"pr/{request.number}",
            "CODEBUILD_WEBHOOK_BASE_REF": f"refs/heads/{request.base}",
            "CODEBUILD_SOURCE_VERSION": f"pr/{request.number}",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": request.commit,
        }
        self._report(project, request, "pending")
        overrides = [{"name": name, "value": value} for name, value in variables.items()]
        built = self._codebuild.run(project["name"], Clone(request.folder, request.commit), overrides)
        self._report(project, request, "success" if built.succeeded else "failure")
        return built

    def _report(self, project: Params, request: PullRequest, state: str) -> None:
        if project["source"].get("reportBuildStatus"):
            self.statuses.append(Status(request.commit, project["name"], state))


def _needs_approval(hook: Params, request: PullRequest) -> bool:
    """CB pull-request-build-policy: a contributor with one of the roles needs none."""
    policy = hook["pullRequestBuildPolicy"]
    kind = policy["requiresCommentApproval"]
    asked = kind == "ALL_PULL_REQUESTS" or (kind == "FORK_PULL_REQUESTS" and request.fork)
    return asked and request.author not in policy["approverRoles"]


def _matches(given: Params, facts: dict[str, str]) -> bool:
    """API_WebhookFilter: events are listed, everything else is a regular expression."""
    value = facts[given["type"]]
    if given["type"] == "EVENT":
        return value in given["pattern"].split(", ")
    return re.search(given["pattern"], value) is not None


class Webhook(Live):
    """Cannot be created before its connection is complete. UNCONFIRMED: the message."""

    def __init__(self, aws: Aws, connections: Connection) -> None:
        self._aws, self._connections = aws, connections

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        [project] = [r for r in self._aws.resources.values() if r.id.endswith(f":project/{inputs['projectName']}")]
        arn = project.inputs["source"]["auth"]["resource"]
        if self._connections.state(arn) != "AVAILABLE":
            raise RuntimeError(f"creating CodeBuild Webhook: InvalidInputException: connection {arn} is not available")
        return "", {}
