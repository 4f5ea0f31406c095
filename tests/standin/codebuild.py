"""CodeBuild: runs the build of a deployed project, with the real shell and the real builder.

Its own calls for variables and reports are limited by the policies of the project's role; those of commands are only
recorded.

A rule names the AWS page it is based on (CB: codebuild/latest/userguide); UNCONFIRMED marks what no page documents.

Archives: CodeBuild restores the modes and symbolic links that a zip records, and its artifacts keep the modes of their
files (awslabs/aws-codebuild-jenkins-plugin 46); links are followed unless `enable-symlinks` is set. The zip that the
source action of a git repository stores records neither: actions.py.
"""

import io
import os
import platform
import stat
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import yaml
from botocore.exceptions import ClientError

from standin.api import ACCOUNT, REGION, Api, AwsError, Params
from standin.clock import Clock
from standin.events import Events
from standin.iam import Iam
from standin.provider import Aws

PROJECT, GROUP = "aws:codebuild/project:Project", "aws:codebuild/reportGroup:ReportGroup"
# https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
PHASES = ("install", "pre_build", "build", "post_build")


@dataclass(frozen=True)
class Clone:
    """A source that CodeBuild clones with git."""

    folder: Path
    """The repository."""
    commit: str

    def check_out(self, work: Path) -> None:
        for command in (
            ["clone", "--quiet", "--no-checkout", str(self.folder), "."],
            ["checkout", "--quiet", self.commit],
        ):
            subprocess.run(["git", *command], cwd=work, check=True, capture_output=True)


@dataclass
class Built:
    succeeded: bool
    log: str
    exported: dict[str, str]
    artifact: bytes
    phases: list[Params] = field(default_factory=list)
    secondary: dict[str, bytes] = field(default_factory=dict)
    """Secondary artifacts, by identifier."""


@dataclass
class Report:
    """A report in a report group, with its test cases if its files are in JUnit's format."""

    group: str
    number: int
    files: dict[str, bytes]
    cases: list[Params]

    @property
    def arn(self) -> str:
        return f"{self.group.replace(':report-group/', ':report/')}:{self.number}"


@dataclass
class Build:
    """A build started with StartBuild, as BatchGetBuilds shows it."""

    shown: Params
    variables: list[Params]
    token: str
    looks: int = 0
    log: str = ""


class CodeBuild:
    def __init__(self, aws: Aws, api: Api, clock: Clock, events: Events, environment: Mapping[str, str]) -> None:
        """`environment` has what `docker` and `aws` need in order to work here."""
        self._aws, self._api, self._clock, self._events = aws, api, clock, events
        self._environment = environment
        self.end: Callable[[str], str | None] = lambda project: None
        """How builds started with StartBuild end, by project, if not as their commands do: TIMED_OUT, FAULT, ..."""
        self.quota: int | None = None
        """How many builds may run at once: 1 or 0 in new accounts (landing-zone-accelerator 249, 1013). AWS does not
        document which builds count; here, all builds started by StartBuild or a pipeline that have not ended."""
        self._running, self._counting = 0, threading.Lock()
        self._builds: list[Build] = []
        self._iam = Iam(aws)
        self.reports: list[Report] = []
        self.created_groups: list[str] = []
        """ARNs of the report groups that builds created."""
        self._lock = threading.RLock()

    @property
    def builds(self) -> dict[str, Params]:
        """Builds started with StartBuild, by id."""
        return {build.shown["id"]: build.shown for build in self._builds}

    def run(self, project: str, source: bytes | Clone, overrides: list[Params]) -> Built:
        """Runs a build for a pipeline or a webhook, as `_run` does, if the quota has room for it."""
        with self._counting:
            self._check_quota()
            self._running += 1
        try:
            return self._run(project, source, overrides)
        finally:
            with self._counting:
                self._running -= 1

    def role(self, project: str) -> str:
        """ARN of a project's role."""
        return str(self._project(project)["serviceRole"])

    def _check_quota(self) -> None:
        """API_StartBuild: "An Amazon Web Services service limit was exceeded", and the message as people quote it."""
        running = self._running + sum(not build.shown["buildComplete"] for build in self._builds)
        if self.quota is not None and running >= self.quota:
            message = f"Cannot have more than {self.quota} builds in queue for the account"
            raise AwsError("AccountLimitExceededException", message)

    def _run(self, project: str, source: bytes | Clone, overrides: list[Params], id: str = "") -> Built:
        """Runs the build of a zip, a clone or nothing, with environment variables that override the project's."""
        given = self._project(project)
        with tempfile.TemporaryDirectory(prefix="slipway-build-") as folder:
            work, temporary = Path(folder, "src"), Path(folder, "tmp")
            work.mkdir()
            temporary.mkdir()
            settings: dict[str, str] = {}
            if isinstance(source, Clone):
                source.check_out(work)
                # Repositories are folders here, and git fetches no submodules from folders by default.
                settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow"}
                settings["GIT_CONFIG_VALUE_0"] = "always"
            elif source:
                unpack(source, work)
            buildspec = yaml.safe_load(_buildspec(given["source"].get("buildspec", "buildspec.yml"), work))
            # CB build-spec-ref, env: StartBuild's value wins, then the project's, then the buildspec's.
            variables = [*_declared(buildspec), *given["environment"].get("environmentVariables", []), *overrides]
            # https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
            environment = {
                **self._environment,
                **settings,
                **machine(given["environment"]["type"]),
                "HOME": folder,
                "TMPDIR": str(temporary),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self._api.url,
                "CODEBUILD_BUILD_ID": id or f"{project}:1",
                "CODEBUILD_SRC_DIR": str(work),
                **self._api.credentials_for(given["serviceRole"]),
            }
            chosen = {v["name"]: v for v in variables}
            try:
                environment |= {name: self._value(v, given["serviceRole"]) for name, v in chosen.items()}
            except AwsError as e:  # UNCONFIRMED: the message, which is as people quote it
                return failed_before("DOWNLOAD_SOURCE", f"Decrypted Variables Error: {e}")
            began = time.monotonic()
            exported = Path(folder, "exported")
            done = subprocess.run(
                ["bash", "-c", script(buildspec, exported)],
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self._clock.sleep(time.monotonic() - began)
            names = buildspec.get("env", {}).get("exported-variables", [])
            values = dict(
                pair.split("=", 1) for pair in (exported.read_text() if exported.exists() else "").split("\0") if pair
            )
            artifacts = buildspec.get("artifacts", {})
            phases, log = _phases(buildspec, values.get("slipway_phases", "")), done.stdout
            if problems := [] if aborted(buildspec, phases) else self._report(project, given, buildspec, work):
                message = f"Error in UPLOAD_ARTIFACTS phase: [{', '.join(problems)}]"
                context = {"statusCode": "CLIENT_ERROR", "message": message}
                phases.append({"phaseType": "UPLOAD_ARTIFACTS", "phaseStatus": "FAILED", "contexts": [context]})
                log += f"CLIENT_ERROR: {message}\n"
            return Built(
                done.returncode == 0 and not problems,
                log,
                {name: values[name] for name in names if name in values},
                _artifact(work, artifacts),
                phases,
                {name: _artifact(work, each) for name, each in artifacts.get("secondary-artifacts", {}).items()},
            )

    def _project(self, name: str) -> Params:
        found = [r.inputs for r in self._events.all(PROJECT) if r.inputs["name"] == name]
        if not found:
            arn = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{name}"
            raise AwsError("ResourceNotFoundException", f"Project cannot be found: {arn}")
        return found[0]

    def _value(self, variable: Params, role: str) -> str:
        """CB build-spec-ref: the project's role reads the value that a variable refers to; secrets are made up here."""
        value = str(variable["value"])
        if variable.get("type") == "PARAMETER_STORE":
            self._may(role, "ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{value.lstrip('/')}")
            self._events.note(role, "ssm", "GetParameters", {"Names": [value], "WithDecryption": True})
        elif variable.get("type") == "SECRETS_MANAGER":
            parts = value.split(":")
            secret = ":".join(parts[:7]) if value.startswith("arn:") else parts[0]
            # The ARN of a secret that is given by its name ends with six characters that AWS adds.
            arn = (
                secret
                if value.startswith("arn:")
                else f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret}-a1b2c3"
            )
            self._may(role, "secretsmanager:GetSecretValue", arn)
            self._events.note(role, "secretsmanager", "GetSecretValue", {"SecretId": secret})
        else:
            return value
        return f"secret of {value}"

    def _may(self, role: str, action: str, resource: str) -> None:
        self._iam.check(role, "AWSCodeBuild", action, resource)

    def _report(self, project: str, given: Params, buildspec: Params, work: Path) -> list[str]:
        """Creates the reports of a build, and returns what went wrong.

        CB build-spec-ref, reports: a group's ARN or name, `files` like those of artifacts, `file-format`, which is
        JUNITXML by default and not case-sensitive. CB report-create: with a name, it is `<project>-<name>`, which is
        created unless it exists; one to five groups. CB test-permissions: the actions. Whether the commands succeeded
        does not matter (re:Post QUCon9LOD). A report without files fails the build (prowler 1182). UNCONFIRMED: the
        messages, of which aws-cdk 7367 quotes one.
        """
        reports: dict[str, Params] = buildspec.get("reports") or {}
        if len(reports) > 5:  # UNCONFIRMED: when
            return ["a build can have at most 5 report groups"]
        prefix, problems = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:report-group/", []
        known = {r.outputs["arn"]: r.inputs["type"] for r in self._events.all(GROUP)}
        for name, report in reports.items():
            group = name if name.startswith("arn:") else f"{prefix}{project}-{name}"
            form = str(report.get("file-format", "JUNITXML")).upper()
            kind = "TEST" if form in TEST_FORMATS else "CODE_COVERAGE"
            base = work / report.get("base-directory", ".")
            found = {
                str(p.relative_to(base)): p.read_bytes() for g in report["files"] for p in base.glob(g) if p.is_file()
            }
            try:
                if group not in [*known, *self.created_groups]:
                    if name.startswith("arn:"):
                        raise AwsError("ResourceNotFoundException", f"{group} does not exist")
                    self._may(given["serviceRole"], "codebuild:CreateReportGroup", group)
                    self.created_groups.append(group)
                if known.get(group, kind) != kind:
                    raise AwsError("InvalidInputException", f"{group} is for {known[group]}, not for {form}")
                put = "BatchPutTestCases" if kind == "TEST" else "BatchPutCodeCoverages"
                for action in ("CreateReport", put, "UpdateReport"):
                    self._may(given["serviceRole"], f"codebuild:{action}", group)
            except AwsError as e:
                created = "creating report group" if "CreateReportGroup" in e.message else "creating report"
                problems.append(f"{name}: [error {created}: {e}]")
                continue
            if not found:
                problems.append(f"{name}: [report files not found in build]")
                continue
            cases = [case for body in found.values() for case in test_cases(body)] if form == "JUNITXML" else []
            self.reports.append(Report(group, len(self.reports) + 1, found, cases))
        return problems

    # The API of reports

    def list_reports_for_report_group(self, params: Params) -> Params:
        """API_ListReportsForReportGroup. Without a `sortOrder`, newest first. UNCONFIRMED"""
        found = [report.arn for report in self.reports if report.group == params["reportGroupArn"]]
        ordered = found if params.get("sortOrder") == "ASCENDING" else found[::-1]
        return {"reports": ordered[: params.get("maxResults", 100)]}

    def describe_test_cases(self, params: Params) -> Params:
        status = params.get("filter", {}).get("status")
        cases = [case for r in self.reports if r.arn == params["reportArn"] for case in r.cases]
        return {"testCases": [case for case in cases if status in (None, case["status"])]}

    # The API of builds that no pipeline starts: API codebuild/latest/APIReference

    def start_build(self, params: Params) -> Params:
        project = self._project(params["projectName"])
        name, token = params["projectName"], params.get("idempotencyToken", "")
        now, number = self._clock.now(), sum(b.shown["projectName"] == name for b in self._builds) + 1
        for build in self._builds:
            # API_StartBuild: the token is good for five minutes.
            if token and build.token == token and now < build.shown["startTime"] + 300:
                return {"build": build.shown}
        kind = params.get("sourceTypeOverride", project["source"]["type"])
        location = params.get("sourceLocationOverride", project["source"].get("location", ""))
        if kind == "CODEPIPELINE":  # UNCONFIRMED: the message
            raise AwsError("InvalidInputException", "A project whose source is CODEPIPELINE is built by pipelines only")
        if kind not in ("S3", "NO_SOURCE"):
            raise AwsError("InvalidInputException", f"not in the stand-in: source {kind}")
        self._check_quota()
        id = f"{name}:{uuid.uuid4()}"
        group, stream = f"/aws/codebuild/{name}", id.partition(":")[2]
        link = f"https://console.aws.amazon.com/cloudwatch/home?region={REGION}#logEvent:group={group};stream={stream}"
        shown: Params = {"id": id, "arn": f"arn:aws:codebuild:{REGION}:{ACCOUNT}:build/{id}", "buildNumber": number}
        shown |= {"startTime": now, "currentPhase": "SUBMITTED", "buildStatus": "IN_PROGRESS", "buildComplete": False}
        shown |= {"projectName": name, "serviceRole": project["serviceRole"], "phases": []}
        shown |= {"logs": {"groupName": group, "streamName": stream, "deepLink": link}}
        shown["source"] = {"type": kind, "location": location}
        given = project["environment"]
        variables = {v["name"]: v for v in given.get("environmentVariables", [])}
        variables |= {v["name"]: v for v in params.get("environmentVariablesOverride", [])}
        shown["environment"] = {key: given[key] for key in ("type", "image", "computeType")}
        shown["environment"]["environmentVariables"] = list(variables.values())
        self._builds.append(Build(shown, params.get("environmentVariablesOverride", []), token))
        return {"build": shown}

    def batch_get_builds(self, params: Params) -> Params:
        """A build is in progress when it is first described, and runs when it is described again."""
        known = {build.shown["id"]: build for build in self._builds}
        with self._lock:
            for build in (known[id] for id in params["ids"] if id in known):
                build.looks += 1
                if build.looks > 1 and not build.shown["buildComplete"]:
                    self._finish(build)
        found = [known[id].shown for id in params["ids"] if id in known]
        lost = [id for id in params["ids"] if id not in known]
        return {"builds": found} | ({"buildsNotFound": lost} if lost else {})

    def stop_build(self, params: Params) -> Params:
        build = next((build for build in self._builds if build.shown["id"] == params["id"]), None)
        if build is None:
            raise AwsError("ResourceNotFoundException", f"Build cannot be found: {params['id']}")
        with self._lock:
            if not build.shown["buildComplete"]:
                self._close(build, "STOPPED")
        return {"build": build.shown}

    def _finish(self, build: Build) -> None:
        name = build.shown["projectName"]
        if status := self.end(name):
            self._close(build, status)
            return
        try:
            source = self._source(build)
        except ClientError as error:
            context = {"statusCode": "CLIENT_ERROR", "message": str(error)}
            failed = {"phaseType": "DOWNLOAD_SOURCE", "phaseStatus": "FAILED", "contexts": [context]}
            build.shown["phases"] = [failed]
            self._close(build, "FAILED")
            return
        built = self._run(name, source, build.variables, build.shown["id"])
        build.log, build.shown["phases"] = built.log, built.phases
        variables = [{"name": key, "value": value} for key, value in built.exported.items()]
        build.shown["exportedEnvironmentVariables"] = variables
        self._close(build, "SUCCEEDED" if built.succeeded else "FAILED")

    def _source(self, build: Build) -> bytes:
        """The source from S3, read with the project's role."""
        if build.shown["source"]["type"] == "NO_SOURCE":
            return b""
        bucket, _, key = build.shown["source"]["location"].partition("/")
        keys = {k.lower(): v for k, v in self._api.credentials_for(build.shown["serviceRole"]).items()}
        s3 = boto3.client("s3", endpoint_url=self._api.url, region_name=REGION, **keys)
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def _close(self, build: Build, status: str) -> None:
        over = {"buildStatus": status, "buildComplete": True, "currentPhase": "COMPLETED"}
        build.shown |= over | {"endTime": self._clock.now()}


TEST_FORMATS = ("CUCUMBERJSON", "JUNITXML", "NUNIT3XML", "NUNITXML", "TESTNGXML", "VISUALSTUDIOTRX")


def test_cases(junit: bytes) -> list[Params]:
    """CB test-report: the status of each test case."""
    cases = []
    for case in ElementTree.fromstring(junit).iter("testcase"):
        inside = {child.tag: child for child in case}
        status = next((s for tag, s in STATUSES.items() if tag in inside), "SUCCEEDED")
        message = next((inside[tag].get("message", "") for tag in STATUSES if tag in inside), "")
        cases.append({"name": case.get("name"), "prefix": case.get("classname"), "status": status, "message": message})
    return cases


STATUSES = {"failure": "FAILED", "error": "ERROR", "skipped": "SKIPPED"}


def aborted(buildspec: Params, phases: list[Params]) -> bool:
    """Whether a phase failed that is to abort the build: then there are no reports (re:Post QUCon9LOD)."""
    failed = [phase["phaseType"].lower() for phase in phases if phase["phaseStatus"] == "FAILED"]
    return any((buildspec["phases"][name] or {}).get("on-failure") == "ABORT" for name in failed)


def failed_before(phase: str, message: str) -> Built:
    """A build that ran no command."""
    context = {"statusCode": "CLIENT_ERROR", "message": message}
    shown = {"phaseType": phase, "phaseStatus": "FAILED", "contexts": [context]}
    return Built(False, f"{message}\n", {}, b"", [shown])


def machine(environment_type: str) -> dict[str, str]:
    """What makes an ARM machine of this one, if it is none: the builder's platform, and the output of `uname -m`. The
    machine still runs its own programs, so a base image for ARM must contain these."""
    if environment_type != "ARM_CONTAINER" or platform.machine() in ("aarch64", "arm64"):
        return {}
    name = '() { if [ "$*" = -m ]; then echo aarch64; else command uname "$@"; fi; }'
    return {"DOCKER_DEFAULT_PLATFORM": "linux/arm64", "BASH_FUNC_uname%%": name}


def script(buildspec: dict[str, Any], exported: Path) -> str:
    """One shell for all commands: "commands in version 0.2 run in the same instance of the default shell".

    A phase ends at its first command that fails, and with its `finally`; after a failed `build`, `post_build` still
    runs unless `on-failure` is ABORT. CODEBUILD_BUILD_SUCCEEDING says whether all phases so far succeeded.
    https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
    """
    record = 'slipway_phases+="$slipway_phase $slipway_last $slipway_at,"'
    # In a trap, because a command that exits ends everything.
    end = f'slipway_last=$?; [ -z "$slipway_phase" ] || {record}; '
    end += f'printf "slipway_phases=%s\\0" "$slipway_phases" >>"{exported}"'
    text = ["slipway_status=0", "export CODEBUILD_BUILD_SUCCEEDING=1", f"trap '{end}' EXIT"]
    for phase in PHASES:
        given = buildspec["phases"].get(phase) or {}
        on_failure = given.get("on-failure", "ABORT" if phase in ("install", "pre_build") else "")
        if on_failure not in ("ABORT", ""):  # UNCONFIRMED: how a build ends that continues after a failure
            raise AwsError("InvalidInputException", f"not in the stand-in: on-failure {on_failure}")
        commands, after = given.get("commands") or [], given.get("finally") or []
        text.append(f"{phase}() {{\nslipway_phase={phase} slipway_last=0\n{_until_one_fails(commands)}:\n}}")
        text.append(f"{phase}_finally() {{\n{_until_one_fails(after)}:\n}}")
        entry = "true" if phase == "post_build" else "[ $slipway_status = 0 ]"
        failed = "{ slipway_status=$?; export CODEBUILD_BUILD_SUCCEEDING=0; }"
        # The output variables of the trap are those of the commands, not of `finally`.
        done = f"{record}; slipway_phase=; {phase}_finally || {failed}"
        text.append(f"if {entry}; then {phase} || {failed}; {done}; fi")
        if on_failure == "ABORT":  # then nothing else runs
            text.append("[ $slipway_status = 0 ] || exit $slipway_status")
    return "\n".join([*text, f"env -0 >'{exported}'", "exit $slipway_status"])


def _until_one_fails(commands: list[str]) -> str:
    return "".join(
        f"slipway_at={number}\n{command}\nslipway_last=$?; [ $slipway_last = 0 ] || return $slipway_last\n"
        for number, command in enumerate(commands)
    )


def _phases(buildspec: Params, recorded: str) -> list[Params]:
    """CB view-build-details-phases. UNCONFIRMED: the text of a context, which is as people quote it."""
    phases = []
    for line in recorded.split(",")[:-1]:
        phase, status, *at = line.split()
        shown: Params = {"phaseType": phase.upper(), "phaseStatus": "SUCCEEDED", "contexts": []}
        if status != "0":
            command = buildspec["phases"][phase]["commands"][int(at[0])]
            reason = f"Error while executing command: {command}. Reason: exit status {status}"
            context = {"statusCode": "COMMAND_EXECUTION_ERROR", "message": reason}
            shown |= {"phaseStatus": "FAILED", "contexts": [context]}
        phases.append(shown)
    return phases


def _buildspec(given: str, work: Path) -> str:
    """The project's buildspec: a path in the source, or the YAML itself."""
    return given if "\n" in given else (work / given).read_text()


def unpack(body: bytes, folder: Path) -> None:
    """As `unzip` does, keeping the execute bits and symbolic links in the archive."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for entry in archive.infolist():
            path, mode = Path(archive.extract(entry, folder)), entry.external_attr >> 16
            if stat.S_ISLNK(mode):
                target = path.read_text()
                path.unlink()
                path.symlink_to(target)
            elif mode & 0o111 and path.is_file():
                path.chmod(path.stat().st_mode | 0o111)


def _declared(buildspec: Params) -> list[Params]:
    """The variables of a buildspec's `env`, as a project declares them: CB build-spec-ref."""
    env = buildspec.get("env") or {}
    kinds = {"variables": "PLAINTEXT", "parameter-store": "PARAMETER_STORE", "secrets-manager": "SECRETS_MANAGER"}
    return [
        {"name": name, "value": value, "type": kind}
        for key, kind in kinds.items()
        for name, value in (env.get(key) or {}).items()
    ]


def _artifact(work: Path, artifacts: Params) -> bytes:
    """The artifact's files that exist; UPLOAD_ARTIFACTS is attempted whatever happened before.

    CB build-spec-ref, artifacts: a location is a file, `**/*` (all files), `folder/*` (those in it) or `folder/**/*`
    (all below it), relative to `base-directory`. UNCONFIRMED: that a single string works like a list of one, and that a
    directory that is named contributes no files to the artifact.
    """
    wanted, base = artifacts.get("files") or [], work / artifacts.get("base-directory", ".")
    patterns = [wanted] if isinstance(wanted, str) else wanted
    excluded = {path for pattern in artifacts.get("exclude-paths", []) for path in base.glob(pattern)}
    found = {
        path: None
        for pattern in patterns
        for path in sorted(base.glob(pattern))
        if path.is_file() and path not in excluded
    }
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in found:
            name = path.name if artifacts.get("discard-paths") in (True, "yes") else path.relative_to(base)
            if path.is_symlink() and artifacts.get("enable-symlinks") in (True, "yes"):
                entry = zipfile.ZipInfo(str(name))
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, str(path.readlink()))
            else:
                archive.write(path, name)
    return body.getvalue()


def shell_environment(builder: Mapping[str, str], tools: Path) -> dict[str, str]:
    """What a build uses of this machine: the builder, and the tools beside the interpreter (`aws`)."""
    path = builder.get("PATH", os.environ["PATH"])
    return {"LANG": "C.UTF-8", **builder, "PATH": f"{tools}{os.pathsep}{path}"}
