import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import pytest
from slipway import (
    Approval,
    BlueGreen,
    Build,
    Canary,
    CodeCommit,
    CodeDeployBlueGreen,
    CodeScan,
    Connection,
    DeployStage,
    EcrImage,
    ExistingRegistry,
    Filter,
    Linear,
    Pipeline,
    Push,
    Registry,
    Rolling,
    S3Object,
    ScanGate,
    StageTests,
    Window,
)
from slipway.pipeline.component import PipelineSettings, composition_rules
from slipway.pipeline.sources import Source
from slipway.strategies import Strategy
from unit import shapes
from unit.examples import build, pipeline, pipeline_args, registry, service
from unit.harness import (
    Recorder,
    Resource,
    deploy,
    granted,
    named,
    of_type,
    only,
    resolved,
    rights,
    run,
    sg,
    statements,
    trusted,
)

PIPELINE = "aws:codepipeline/pipeline:Pipeline"
CONNECTION = "aws:codeconnections/connection:Connection"
PLACE = "eu-west-1:123456789012"
ARN = f"arn:aws:codepipeline:{PLACE}:web"
BUCKET, KEY = "arn:aws:s3:::web-artifacts", f"arn:aws:kms:{PLACE}:key/web-artifacts-key"
GITHUB = f"arn:aws:codeconnections:{PLACE}:connection/0f-1"
NEW = f"arn:aws:codeconnections:{PLACE}:connection/web"
COMMIT = CodeCommit(repository="storefront", branch="main")
EXISTING = Connection(arn=GITHUB, repository="acme/storefront", branch="release")
ARCHIVE = S3Object(bucket="sources", key="web/source.zip")
IMAGE = EcrImage(repository="web-dev", tag="verified-test")
CONSOLE = "https://eu-west-1.console.aws.amazon.com"
EXECUTION = "#{codepipeline.PipelineExecutionId}"


def program(
    source: Source = COMMIT,
    stages: Mapping[str, Mapping[str, Any]] | None = None,
    strategies: Mapping[str, Strategy] | None = None,
    buildspec: str | None = None,
    **args: Any,
) -> Pipeline:
    """The pipeline `web`; its stages, by default `dev`, are given by their settings other than the service."""
    registry = ExistingRegistry(str(source.repository)) if isinstance(source, EcrImage) else Registry("web")
    builds = not isinstance(source, EcrImage)

    def stage(name: str, more: Mapping[str, Any]) -> DeployStage:
        strategy = (strategies or {}).get(name, Rolling())
        made = service(f"web-{name}", registry=registry, environment_name=name, strategy=strategy)
        return DeployStage(service=made, **more)

    return pipeline(
        "web",
        source=source,
        build=build("web", registry=registry, buildspec=buildspec, full_clone=source.full_clone) if builds else None,
        stages=[stage(name, more) for name, more in ({"dev": {}} if stages is None else stages).items()],
        **args,
    )


RUNS: dict[str, list[Resource]] = {}


def deployed(source: Source = COMMIT, **args: Any) -> list[Resource]:
    """The resources of the pipeline, read-only: each pipeline runs once."""
    key = repr((source, args))
    if key not in RUNS:
        RUNS[key] = deploy(lambda: program(source, **args))
    return RUNS[key]


def recorded(source: Source) -> Recorder:
    return run(lambda: program(source, {}, buildspec="b.yml"), {}, [], "dev")


def stages(resources: list[Resource]) -> dict[str, list[dict[str, Any]]]:
    return {stage["name"]: stage["actions"] for stage in only(resources, PIPELINE).inputs["stages"]}


def shape(resources: list[Resource], stage: str) -> list[tuple[str, str, int]]:
    """Name, provider and run order of the actions of a stage."""
    return [(a["name"], a["provider"], int(a["runOrder"])) for a in stages(resources)[stage]]


def function_action(name: str, step: str, order: int, more: Mapping[str, Any], **args: Any) -> dict[str, Any]:
    function = args.pop("function", "web-dev-release")
    revision = args.pop("revision", "#{Source.CommitId}")
    parameters = {"step": step, "pipeline": "web", "execution": EXECUTION, "commit": revision, **args}
    return {
        "name": name,
        "category": "Invoke",
        "owner": "AWS",
        "provider": "Lambda",
        "version": "1",
        "configuration": {"FunctionName": function, "UserParameters": json.dumps(parameters)},
        "inputArtifacts": ["BuildArtifact"],
        "runOrder": order,
        **more,
    }


def deploy_action(name: str = "Deploy", order: int = 1, inputs: Sequence[str] = (), **args: Any) -> dict[str, Any]:
    more = {"namespace": "Deploy-dev", "inputArtifacts": [*inputs] or ["BuildArtifact"]}
    return function_action(name, "deploy", order, more, **args)


# The pipeline


def test_a_newer_commit_replaces_those_that_wait() -> None:
    inputs = dict(only(deployed(stages={"dev": {}, "prod": {}}), PIPELINE).inputs)
    assert [stage["name"] for stage in inputs.pop("stages")] == ["Source", "Build", "dev", "prod"]
    assert inputs == {
        "name": "web",
        "pipelineType": "V2",
        "executionMode": "SUPERSEDED",
        "roleArn": "arn:aws:iam::123456789012:role/web-pipeline-role",
        "artifactStores": [
            {"type": "S3", "location": "web-artifacts", "encryptionKey": {"type": "KMS", "id": KEY}},
        ],
        "variables": [RELEASE, REBUILD],
    }


RELEASE = {
    "name": "IMAGE_DIGEST",
    "defaultValue": "none",
    "description": "Digest of an image in the repository, to release it again instead of building one",
}
REBUILD = {
    "name": "REBUILD",
    "defaultValue": "false",
    "description": "true to build an image that exists again, without the layer cache: for a new base image",
}


def test_executions_keep_their_order_in_queued_mode() -> None:
    assert only(deployed(execution_mode="QUEUED"), PIPELINE).inputs["executionMode"] == "QUEUED"


def test_the_pipeline_is_created_after_its_role_has_its_permissions() -> None:
    assert only(deployed(), PIPELINE).depends_on == {
        "web-artifacts",
        "web-artifacts-key",
        "web-build-variables",
        "web-pipeline-policy",
        "web-pipeline-role",
    }


def test_the_pipelines_page_in_the_console_is_an_output() -> None:
    assert only(deployed(), "slipway:index:Pipeline").outputs["console_url"] == (
        f"{CONSOLE}/codesuite/codepipeline/pipelines/web/view"
    )


def test_without_a_build_the_pipeline_has_a_bucket_of_its_own() -> None:
    resources = deployed(IMAGE)
    assert only(resources, "slipway:index:ArtifactStore").parent == "slipway:index:Pipeline"
    assert [stage for stage in stages(resources)] == ["Source", "dev"]
    assert "variables" not in only(resources, PIPELINE).inputs


# Sources


def source_action(provider: str, configuration: dict[str, str]) -> dict[str, Any]:
    return {
        "name": "Source",
        "category": "Source",
        "owner": "AWS",
        "provider": provider,
        "version": "1",
        "configuration": configuration,
        "outputArtifacts": ["SourceArtifact"],
        "namespace": "Source",
    }


def connection_action(arn: str, branch: str = "main") -> dict[str, Any]:
    configuration = {
        "ConnectionArn": arn,
        "FullRepositoryId": "acme/storefront",
        "BranchName": branch,
        "OutputArtifactFormat": "CODE_ZIP",
        "DetectChanges": "false",
    }
    return source_action("CodeStarSourceConnection", configuration)


@pytest.mark.parametrize(
    ("source", "action"),
    [
        (
            COMMIT,
            source_action(
                "CodeCommit", {"RepositoryName": "storefront", "BranchName": "main", "PollForSourceChanges": "false"}
            ),
        ),
        (
            ARCHIVE,
            source_action(
                "S3", {"S3Bucket": "sources", "S3ObjectKey": "web/source.zip", "PollForSourceChanges": "false"}
            ),
        ),
        (IMAGE, source_action("ECR", {"RepositoryName": "web-dev", "ImageTag": "verified-test"})),
        (EXISTING, connection_action(GITHUB, "release")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sources_are_not_polled(source: Source, action: dict[str, Any]) -> None:
    assert stages(deployed(source))["Source"] == [action]


CODECOMMIT_EVENT = {
    "source": ["aws.codecommit"],
    "detail-type": ["CodeCommit Repository State Change"],
    "resources": [f"arn:aws:codecommit:{PLACE}:storefront"],
    "detail": {
        "event": ["referenceCreated", "referenceUpdated"],
        "referenceType": ["branch"],
        "referenceName": ["main"],
    },
}
S3_EVENT = {
    "source": ["aws.s3"],
    "detail-type": ["Object Created"],
    "detail": {"bucket": {"name": ["sources"]}, "object": {"key": ["web/source.zip"]}},
}
ECR_EVENT = {
    "source": ["aws.ecr"],
    "detail-type": ["ECR Image Action"],
    "detail": {
        "action-type": ["PUSH"],
        "result": ["SUCCESS"],
        "repository-name": ["web-dev"],
        "image-tag": ["verified-test"],
    },
}


@pytest.mark.parametrize(
    ("source", "description", "pattern"),
    [
        (COMMIT, "A push to main of storefront", CODECOMMIT_EVENT),
        (ARCHIVE, "A new version of web/source.zip in sources", S3_EVENT),
        (IMAGE, "The tag verified-test of web-dev moves", ECR_EVENT),
    ],
    ids=["CodeCommit", "S3", "ECR"],
)
def test_a_change_of_the_source_starts_the_pipeline_with_an_event(
    source: Source, description: str, pattern: dict[str, Any]
) -> None:
    resources = deployed(source)
    rule = named(resources, "web-push", "EventRule")
    assert rule.json("eventPattern") == pattern
    assert rule.inputs == {"description": description, "eventPattern": rule.inputs["eventPattern"]}
    target = named(resources, "web-push-target")
    assert target.inputs == {
        "rule": "web-push",
        "arn": ARN,
        "roleArn": "arn:aws:iam::123456789012:role/web-push-role",
    }
    assert target.depends_on == {"web", "web-push", "web-push-policy", "web-push-role"}
    assert "triggers" not in only(resources, PIPELINE).inputs


@pytest.mark.parametrize("source", [COMMIT, ARCHIVE, IMAGE], ids=["CodeCommit", "S3", "ECR"])
def test_the_rule_may_start_this_pipeline_and_nothing_else(source: Source) -> None:
    resources = deployed(source)
    assert trusted(resources, "web-push-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": f"arn:aws:events:{PLACE}:rule/web-push"},
            },
        }
    ]
    assert named(resources, "web-push-policy").inputs["role"] == "web-push-role"
    assert rights(resources, "web-push-policy") == granted(
        [{"Effect": "Allow", "Action": ["codepipeline:StartPipelineExecution"], "Resource": ARN}]
    )


# Connections


def connection(**args: Any) -> Connection:
    return Connection(**{"arn": GITHUB, "repository": "acme/storefront", **args})


def git(source: Connection, **args: Any) -> dict[str, Any]:
    [trigger] = only(deployed(source, **args), PIPELINE).inputs["triggers"]
    assert trigger["providerType"] == "CodeStarSourceConnection"
    assert trigger["gitConfiguration"].pop("sourceActionName") == "Source"
    return dict(trigger["gitConfiguration"])


def test_a_push_to_the_branch_starts_the_pipeline_with_a_trigger_instead_of_an_event() -> None:
    resources = deployed(EXISTING)
    assert only(resources, PIPELINE).inputs["triggers"] == [
        {
            "providerType": "CodeStarSourceConnection",
            "gitConfiguration": {
                "sourceActionName": "Source",
                "pushes": [{"branches": {"includes": ["release"]}}],
            },
        }
    ]
    # An event that starts a pipeline needs a role.
    assert [r.name for r in of_type(resources, "aws:cloudwatch/eventTarget:EventTarget") if "roleArn" in r.inputs] == []


def test_pushes_of_branches_files_and_tags_have_a_trigger_each() -> None:
    pushes = [
        Push(
            branches=Filter(includes=["main", "hotfix/*"]), file_paths=Filter(includes=["app/**"], excludes=["**.md"])
        ),
        Push(tags=Filter(includes=["v*"])),
        Push(branches=Filter(excludes=["wip/*"]), file_paths=Filter(excludes=["docs/**"])),
    ]
    assert git(connection(push=pushes)) == {
        "pushes": [
            {
                "branches": {"includes": ["main", "hotfix/*"]},
                "filePaths": {"includes": ["app/**"], "excludes": ["**.md"]},
            },
            {"tags": {"includes": ["v*"]}},
            {"branches": {"excludes": ["wip/*"]}, "filePaths": {"excludes": ["docs/**"]}},
        ]
    }


@pytest.mark.parametrize(
    ("args", "made"),
    [
        ({"provider_type": "GitHub"}, {"providerType": "GitHub"}),
        (
            {"host_arn": f"arn:aws:codeconnections:{PLACE}:host/ghes/1"},
            {"hostArn": f"arn:aws:codeconnections:{PLACE}:host/ghes/1"},
        ),
    ],
    ids=["provider", "host"],
)
def test_a_new_connection_is_created_and_a_warning_says_where_to_complete_it(
    args: dict[str, Any], made: dict[str, str]
) -> None:
    recording = recorded(Connection(repository="acme/storefront", **args))
    resources = recording.registered()
    assert only(resources, CONNECTION).inputs == {"name": "web", **made}
    assert (recording.read, recording.warnings) == (
        [],
        [
            f"the connection {NEW} is PENDING, and the pipeline web cannot start: complete it at "
            f"{CONSOLE}/codesuite/settings/connections, then start the pipeline"
        ],
    )
    assert stages(resources)["Source"] == [connection_action(NEW)]
    assert statements(resources, "web-pipeline-policy")[3:5] == use(NEW)
    assert only(resources, "slipway:index:Pipeline").outputs["connection_arn"] == NEW


def test_the_name_of_a_new_connection_is_shortened_to_the_limit_and_told_apart() -> None:
    def named(name: str) -> str:
        source = Connection(provider_type="GitHub", repository="a/b")
        resources = deploy(lambda: pipeline(name, source=source, build=build("web"), stages=[]))
        return str(only(resources, CONNECTION).inputs["name"])

    assert named("a" * 32) == "a" * 32
    long = [named("a" * 24 + "-" + "b" * 8 + end) for end in ("", "-c", "-d")]
    assert [name[:-6] for name in long] == ["a" * 24 + "-"] * 3
    assert len(set(long)) == 3 and max(map(len, long)) == 31


def test_an_available_connection_is_looked_up_without_a_warning() -> None:
    recording = recorded(EXISTING)
    assert of_type(recording.registered(), CONNECTION) == []
    assert recording.read == [
        (CONNECTION, "web-connection", GITHUB, "urn:pulumi:dev::storefront::slipway:index:Pipeline::web")
    ]
    assert recording.warnings == []
    assert only(recording.registered(), "slipway:index:Pipeline").outputs["connection_arn"] == GITHUB


def test_a_pending_connection_that_exists_causes_a_warning() -> None:
    recording = recorded(connection(arn=f"{GITHUB}-pending"))
    assert recording.warnings == [
        f"the connection {GITHUB}-pending is PENDING, and the pipeline web cannot start: complete it at "
        f"{CONSOLE}/codesuite/settings/connections, then start the pipeline"
    ]


@pytest.mark.parametrize("source", [COMMIT, IMAGE], ids=["CodeCommit", "ECR"])
def test_other_sources_have_no_connection(source: Source) -> None:
    assert of_type(deployed(source), CONNECTION) == []
    assert "connection_arn" not in only(deployed(source), "slipway:index:Pipeline").outputs


# The build


def plaintext(**variables: str) -> str:
    return json.dumps([{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()])


def read(names: str) -> dict[str, str]:
    return {"PIPELINE_NAME": "web", "PIPELINE_EXECUTION_ID": EXECUTION, "PIPELINE_VARIABLES": names}


@pytest.mark.parametrize(
    ("source", "revision"),
    [(COMMIT, "#{Source.CommitId}"), (EXISTING, "#{Source.CommitId}"), (ARCHIVE, "s3-#{Source.VersionId}")],
    ids=["CodeCommit", "connection", "S3"],
)
def test_the_build_gets_the_commit_or_the_image_to_release_again(source: Source, revision: str) -> None:
    assert stages(deployed(source))["Build"] == [
        {
            "name": "Build",
            "category": "Build",
            "owner": "AWS",
            "provider": "CodeBuild",
            "version": "1",
            "configuration": {
                "ProjectName": "web",
                "EnvironmentVariables": plaintext(COMMIT_ID=revision, **read("IMAGE_DIGEST REBUILD")),
            },
            "inputArtifacts": ["SourceArtifact"],
            "outputArtifacts": ["BuildArtifact"],
            "namespace": "Build",
        }
    ]
    assert stages(deployed(source))["dev"] == [deploy_action(revision=revision)]


@pytest.mark.parametrize("cloned", [False, True])
def test_the_builds_for_two_architectures_run_at_once_and_the_index_is_made_of_both(cloned: bool) -> None:
    def program() -> Pipeline:
        repository = Registry("web")
        both = build("web", registry=repository, cpu_architectures=["X86_64", "ARM64"], full_clone=cloned)
        return pipeline("web", source=CodeCommit(repository="web", full_clone=cloned), build=both, stages=[])

    resources = deploy(program)
    actions = {action["name"]: action for action in stages(resources)["Build"]}
    order = {
        name: (int(a.get("runOrder", 1)), a["inputArtifacts"], a.get("outputArtifacts")) for name, a in actions.items()
    }
    assert order == {
        "Build-X86_64": (1, ["SourceArtifact"], ["Checkout"] if cloned else None),
        "Build-ARM64": (1, ["SourceArtifact"], None),
        "Index": (2, ["Checkout" if cloned else "SourceArtifact"], ["BuildArtifact"]),
    }
    settings = plaintext(COMMIT_ID="#{Source.CommitId}", **read("IMAGE_DIGEST REBUILD"))
    found = {name: (a["namespace"], a["configuration"]) for name, a in actions.items()}
    assert found == {
        "Build-X86_64": ("Build-X86_64", {"ProjectName": "web", "EnvironmentVariables": settings}),
        "Build-ARM64": ("Build-ARM64", {"ProjectName": "web-arm64", "EnvironmentVariables": settings}),
        "Index": (
            "Build",
            {
                "ProjectName": "web-index",
                "EnvironmentVariables": plaintext(
                    COMMIT_ID="#{Source.CommitId}",
                    IMAGE_DIGESTS="#{Build-X86_64.IMAGE_DIGEST} #{Build-ARM64.IMAGE_DIGEST}",
                    IMAGE_TAGS="#{Build-X86_64.IMAGE_TAG} #{Build-ARM64.IMAGE_TAG}",
                ),
            },
        ),
    }
    for kind in ("variables", *(["clone"] if cloned else [])):
        policies = [named(resources, f"{name}-build-{kind}").inputs for name in ("web", "web-arm64")]
        assert [each["role"] for each in policies] == ["web-build-role", "web-arm64-build-role"]
        assert policies[0]["policy"] == policies[1]["policy"]


def test_the_pipelines_own_variables_reach_the_build_and_the_code_scans() -> None:
    lint = CodeScan(name="lint", commands=["make lint"])
    resources = deployed(variables={"REGION": "eu", "LEVEL": "info"}, code_scans=[lint])
    assert only(resources, PIPELINE).inputs["variables"] == [
        {"name": "LEVEL", "defaultValue": "info"},
        {"name": "REGION", "defaultValue": "eu"},
        RELEASE,
        REBUILD,
    ]
    [built] = stages(resources)["Build"]
    assert built["configuration"]["EnvironmentVariables"] == plaintext(
        COMMIT_ID="#{Source.CommitId}", **read("IMAGE_DIGEST LEVEL REBUILD REGION")
    )
    [scanned] = stages(resources)["Scan"]
    assert scanned["configuration"] == {
        "ProjectName": "web-lint",
        "EnvironmentVariables": plaintext(**read("LEVEL REGION")),
    }


def test_readers_of_the_pipelines_variables_may_read_executions_of_this_pipeline() -> None:
    statement = granted([{"Effect": "Allow", "Action": ["codepipeline:GetPipelineExecution"], "Resource": ARN}])
    lint = CodeScan(name="lint", commands=["make lint"])
    resources = deployed(variables={"LEVEL": "info"}, code_scans=[lint])
    assert named(resources, "web-build-variables").inputs["role"] == "web-build-role"
    assert rights(resources, "web-build-variables") == statement
    assert rights(resources, "web-lint-policy") >= statement
    without = deployed(code_scans=[lint])
    assert rights(resources, "web-lint-policy") - rights(without, "web-lint-policy") == statement


def test_a_pipeline_substitutes_no_text_that_people_can_choose() -> None:
    """Neither a variable, nor the name of a branch, the message of a commit or its author."""
    lint = CodeScan(name="lint", commands=["make lint"])
    approval = Approval(link="https://x/{commit}/{live_commit}/{digest}")
    stage = {"approval": approval, "tests": StageTests(commands=["true"])}
    args: dict[str, Any] = {
        "stages": {"dev": stage, "prod": stage},
        "strategies": {"dev": CodeDeployBlueGreen(), "prod": Rolling(ecs_action=True)},
        "scan_gate": ScanGate(),
        "variables": {"LEVEL": "info"},
    }
    pasted = set[str]()
    for source in (COMMIT, EXISTING, ARCHIVE):
        definition = json.dumps(only(deployed(source, code_scans=[lint], **args), PIPELINE).inputs["stages"])
        pasted |= set(re.findall(r"#\{[^}]*\}", definition))
    del args["strategies"]
    pasted |= set(re.findall(r"#\{[^}]*\}", json.dumps(only(deployed(IMAGE, **args), PIPELINE).inputs["stages"])))
    of_stages = {
        f"#{{Inspect-{of}.{name}}}"
        for of in ("dev", "prod")
        for name in ("COMMIT_ID", "IMAGE_DIGEST", "LIVE_COMMIT_ID", "LIVE_DIGEST")
    }
    assert pasted == {
        EXECUTION,
        "#{Source.CommitId}",
        "#{Source.VersionId}",
        "#{Source.ImageDigest}",
        "#{Scan.IMAGE_DIGEST}",
        *of_stages,
    }


def test_a_custom_buildspec_gets_the_commit_and_releases_no_image_again() -> None:
    resources = deployed(buildspec="ci/buildspec.yml")
    [built] = stages(resources)["Build"]
    assert built["configuration"]["EnvironmentVariables"] == plaintext(COMMIT_ID="#{Source.CommitId}")
    assert "variables" not in only(resources, PIPELINE).inputs
    assert stages(resources)["dev"] == [deploy_action()]
    assert "#{Build." not in json.dumps(stages(resources))


# Deploy stages


def test_a_release_is_one_action_with_the_environments_function() -> None:
    assert stages(deployed())["dev"] == [deploy_action()]
    two = stages(deployed(stages={"dev": {}, "prod": {}}))
    assert two["dev"] == [deploy_action()]
    assert two["prod"] == [{**deploy_action(function="web-prod-release"), "namespace": "Deploy-prod"}]


def test_a_release_of_an_image_uses_the_output_of_its_source() -> None:
    action = deploy_action(inputs=["SourceArtifact"], revision="#{Source.ImageDigest}")
    assert stages(deployed(IMAGE))["dev"] == [action]
    assert stages(deployed(IMAGE, strategies={"dev": Canary()}))["dev"] == [action]


@pytest.mark.parametrize("strategy", [BlueGreen(), Canary(), Linear()], ids=lambda s: type(s).__name__)
def test_strategies_of_ecs_need_only_the_release_function(strategy: Strategy) -> None:
    assert stages(deployed(strategies={"dev": strategy}))["dev"] == [deploy_action()]


APPROVED: dict[str, Any] = {"digest": "#{Inspect-dev.IMAGE_DIGEST}"}
MESSAGE = (
    "Release to dev: commit #{Inspect-dev.COMMIT_ID} instead of #{Inspect-dev.LIVE_COMMIT_ID}, image "
    "#{Inspect-dev.IMAGE_DIGEST} instead of #{Inspect-dev.LIVE_DIGEST}. "
    f"{CONSOLE}/codesuite/codepipeline/pipelines/web/executions/{EXECUTION}/visualization"
)
IMAGE_PAGE = f"{CONSOLE}/ecr/repositories/private/123456789012/web/_/image/#{{Inspect-dev.IMAGE_DIGEST}}/details"


def approve_action(**configuration: str) -> dict[str, Any]:
    return {
        "name": "Approve",
        "category": "Approval",
        "owner": "AWS",
        "provider": "Manual",
        "version": "1",
        "configuration": {"CustomData": MESSAGE, "ExternalEntityLink": IMAGE_PAGE, **configuration},
        "timeoutInMinutes": 1440,
        "runOrder": 2,
    }


def inspect_action(**args: Any) -> dict[str, Any]:
    return function_action("Inspect", "inspect", 1, {"namespace": "Inspect-dev"}, **args)


def test_an_approval_shows_both_images_and_only_the_approved_one_is_deployed() -> None:
    resources = deployed(stages={"dev": {"approval": Approval()}})
    assert stages(resources)["dev"] == [inspect_action(), approve_action(), deploy_action(order=3, **APPROVED)]
    assert of_type(resources, "aws:sns/topic:Topic") == []


def test_approvers_are_notified_by_e_mail() -> None:
    addresses = ["ops@example.com", "dev@example.com"]
    resources = deployed(stages={"dev": {"approval": Approval(notify=addresses)}})
    topic = f"arn:aws:sns:{PLACE}:web-dev-approval"
    assert stages(resources)["dev"][1] == approve_action(NotificationArn=topic)
    assert only(resources, "aws:sns/topic:Topic").inputs == {"kmsMasterKeyId": "alias/aws/sns"}
    subscriptions = of_type(resources, "aws:sns/topicSubscription:TopicSubscription")
    assert [r.inputs for r in subscriptions] == [
        {"topic": topic, "protocol": "email", "endpoint": address} for address in sorted(addresses)
    ]
    assert statements(resources, "web-pipeline-policy")[-1] == {
        "Effect": "Allow",
        "Action": ["sns:Publish"],
        "Resource": [topic],
    }


def test_an_approval_can_have_a_timeout_and_a_link() -> None:
    link = "https://github.com/acme/web/compare/{live_commit}...{commit}?image={digest}"
    resources = deployed(stages={"dev": {"approval": Approval(timeout_minutes=60, link=link)}})
    page = (
        "https://github.com/acme/web/compare/#{Inspect-dev.LIVE_COMMIT_ID}...#{Inspect-dev.COMMIT_ID}"
        "?image=#{Inspect-dev.IMAGE_DIGEST}"
    )
    assert stages(resources)["dev"][1] == {**approve_action(ExternalEntityLink=page), "timeoutInMinutes": 60}


def test_an_approver_of_one_environment_may_see_the_pipeline_and_approve_no_other() -> None:
    def may() -> Any:
        return pipeline("web", stages=[]).approve_statements("prod")

    assert resolved(may) == [
        {
            "Effect": "Allow",
            "Action": [
                "codepipeline:GetPipeline",
                "codepipeline:GetPipelineState",
                "codepipeline:GetPipelineExecution",
            ],
            "Resource": ARN,
        },
        {"Effect": "Allow", "Action": ["codepipeline:PutApprovalResult"], "Resource": f"{ARN}/prod/Approve"},
    ]


def test_codedeploy_deploys_what_the_function_prepares_and_the_function_finishes() -> None:
    resources = deployed(strategies={"dev": CodeDeployBlueGreen()})
    prepare = function_action("Prepare", "prepare", 1, {"outputArtifacts": ["Deployment-dev"]})
    by_codedeploy = {
        "name": "Deploy",
        "category": "Deploy",
        "owner": "AWS",
        "provider": "CodeDeployToECS",
        "version": "1",
        "configuration": {
            "ApplicationName": "web-dev",
            "DeploymentGroupName": "web-dev",
            "TaskDefinitionTemplateArtifact": "Deployment-dev",
            "AppSpecTemplateArtifact": "Deployment-dev",
            "Image1ArtifactName": "Deployment-dev",
            "Image1ContainerName": "IMAGE1_NAME",
        },
        "inputArtifacts": ["Deployment-dev"],
        "runOrder": 2,
    }
    assert stages(resources)["dev"] == [prepare, by_codedeploy, deploy_action("Finish", 3)]


def test_codedeploy_deploys_the_approved_image() -> None:
    resources = deployed(stages={"dev": {"approval": Approval()}}, strategies={"dev": CodeDeployBlueGreen()})
    actions = stages(resources)["dev"]
    assert shape(resources, "dev") == [
        ("Inspect", "Lambda", 1),
        ("Approve", "Manual", 2),
        ("Prepare", "Lambda", 3),
        ("Deploy", "CodeDeployToECS", 4),
        ("Finish", "Lambda", 5),
    ]
    assert actions[2] == function_action("Prepare", "prepare", 3, {"outputArtifacts": ["Deployment-dev"]}, **APPROVED)
    assert actions[4] == deploy_action("Finish", 5, **APPROVED)


def test_with_codepipelines_own_action_the_function_only_finishes() -> None:
    resources = deployed(strategies={"dev": Rolling(ecs_action=True, deadline_minutes=25)})
    assert stages(resources)["dev"] == [
        function_action("Prepare", "prepare", 1, {}),
        {
            "name": "Deploy",
            "category": "Deploy",
            "owner": "AWS",
            "provider": "ECS",
            "version": "1",
            "configuration": {
                "ClusterName": "given-web-dev",
                "ServiceName": "web-dev",
                "DeploymentTimeout": "25",
            },
            "inputArtifacts": ["BuildArtifact"],
            "runOrder": 2,
        },
        deploy_action("Finish", 3),
    ]


def test_a_stage_starts_only_in_its_window() -> None:
    window = Window(cron="* * 9-16 ? * MON-FRI", time_zone="Europe/Berlin")
    source, build, dev = only(deployed(stages={"dev": {"window": window}}), PIPELINE).inputs["stages"]
    assert dev["beforeEntry"] == {
        "condition": {
            "result": "FAIL",
            "rules": [
                {
                    "name": "Window",
                    "ruleTypeId": {
                        "category": "Rule",
                        "owner": "AWS",
                        "provider": "DeploymentWindow",
                        "version": "1",
                    },
                    "configuration": {"Cron": "* * 9-16 ? * MON-FRI", "TimeZone": "Europe/Berlin"},
                }
            ],
        }
    }
    assert ("beforeEntry" in source, "beforeEntry" in build) == (False, False)


# Tests of a stage


def of_tests(resources: list[Resource]) -> Resource:
    return named(resources, "web-dev-tests", ":Project")


def test_the_function_runs_the_tests_of_a_stage_with_the_files_of_the_commit() -> None:
    resources = deployed(stages={"dev": {"tests": StageTests(commands=["make smoke"])}})
    assert stages(resources)["dev"] == [
        deploy_action(inputs=["BuildArtifact", "SourceArtifact"], tests="web-dev-tests"),
    ]
    project = of_tests(resources).inputs
    assert project["description"] == "Tests web-dev when a release is live"
    assert (project["source"]["type"], project["artifacts"]) == ("NO_SOURCE", {"type": "NO_ARTIFACTS"})
    assert json.loads(project["source"]["buildspec"])["phases"] == {"build": {"commands": ["make smoke"]}}
    assert (project["encryptionKey"], "vpcConfig" in project) == (KEY, False)


def test_tests_of_an_image_have_no_files() -> None:
    resources = deployed(IMAGE, stages={"dev": {"tests": StageTests(commands=["true"])}})
    assert stages(resources)["dev"] == [
        deploy_action(inputs=["SourceArtifact"], revision="#{Source.ImageDigest}", tests="web-dev-tests"),
    ]
    logs = [f"arn:aws:logs:{PLACE}:log-group:/aws/codebuild/web-dev-tests{end}" for end in ("", ":*")]
    assert rights(resources, "web-dev-tests-policy") == granted(
        [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": logs}]
    )
    assert "encryptionKey" not in of_tests(resources).inputs


@pytest.mark.parametrize("strategy", [CodeDeployBlueGreen(), Rolling(ecs_action=True)], ids=["CodeDeploy", "ECS"])
def test_tests_run_when_the_release_is_live_whoever_deploys(strategy: Strategy) -> None:
    stage = {"dev": {"tests": StageTests(commands=["true"])}}
    actions = stages(deployed(stages=stage, strategies={"dev": strategy}))["dev"]
    args = [json.loads(a["configuration"].get("UserParameters", "{}")).get("tests") for a in actions]
    assert (args, actions[-1]["name"]) == ([None] * (len(actions) - 1) + ["web-dev-tests"], "Finish")


def test_tests_can_run_in_the_services_subnets_and_security_group() -> None:
    resources = deployed(stages={"dev": {"tests": StageTests(commands=["true"], in_vpc=True)}})
    assert of_tests(resources).inputs["vpcConfig"] == {
        "vpcId": "vpc-1",
        "subnets": ["subnet-3", "subnet-4"],
        "securityGroupIds": [sg("web-dev-tasks")],
    }


# Scans before the first deployment


def test_the_code_and_the_image_are_scanned_before_the_first_deployment() -> None:
    scans = [CodeScan(name="lint", commands=["make lint"]), CodeScan(name="semgrep", commands=["semgrep ci"])]
    resources = deployed(scan_gate=ScanGate(), code_scans=scans, stages={"dev": {}, "prod": {}})
    assert [*stages(resources)] == ["Source", "Build", "Scan", "dev", "prod"]

    def scan(name: str, order: int) -> dict[str, Any]:
        return {
            "name": name,
            "category": "Test",
            "owner": "AWS",
            "provider": "CodeBuild",
            "version": "1",
            "configuration": {"ProjectName": f"web-{name}"},
            "inputArtifacts": ["SourceArtifact"],
            "runOrder": order,
        }

    gate = function_action("Image", "scan", 1, {"namespace": "Scan"}, function="web-scan-gate")
    # In sequence: new accounts may run only one build at a time.
    assert stages(resources)["Scan"] == [scan("lint", 1), scan("semgrep", 2), gate]
    together = deployed(scan_gate=ScanGate(), code_scans=scans, parallel_scans=True)
    assert stages(together)["Scan"] == [scan("lint", 1), scan("semgrep", 1), gate]
    # The image that passed the gate is the one that is deployed.
    assert stages(resources)["dev"] == [deploy_action(digest="#{Scan.IMAGE_DIGEST}")]
    assert named(resources, "web-lint", ":Project").inputs["description"] == "Scans the code of web with lint"
    assert named(resources, "web-lint", ":Project").inputs["source"]["type"] == "CODEPIPELINE"


def test_an_approval_is_for_the_image_that_passed_the_gate() -> None:
    resources = deployed(scan_gate=ScanGate(), stages={"dev": {"approval": Approval()}})
    assert stages(resources)["dev"] == [
        inspect_action(digest="#{Scan.IMAGE_DIGEST}"),
        approve_action(),
        deploy_action(order=3, **APPROVED),
    ]


def test_an_image_of_another_stack_is_scanned_too() -> None:
    resources = deployed(IMAGE, scan_gate=ScanGate())
    more = {"namespace": "Scan", "inputArtifacts": ["SourceArtifact"]}
    assert stages(resources)["Scan"] == [
        function_action("Image", "scan", 1, more, function="web-scan-gate", revision="#{Source.ImageDigest}")
    ]
    variables = named(resources, "web-scan-gate", ":Function").inputs["environment"]["variables"]
    url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web-dev"
    assert variables == {"REPOSITORY_URL": url, "CONTAINER": "app"}


# The role


MINE = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}


def allow(*actions: str, on: Any, **condition: Any) -> dict[str, Any]:
    when = {"Condition": condition["when"]} if condition else {}
    return {"Effect": "Allow", "Action": [*actions], "Resource": on, **when}


def artifact_statements() -> list[dict[str, Any]]:
    return [
        allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on=BUCKET, when=MINE),
        allow("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", on=f"{BUCKET}/*", when=MINE),
        allow(
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
            on=KEY,
            when={"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
        ),
    ]


def use(arn: str) -> list[dict[str, Any]]:
    return [
        allow("codeconnections:UseConnection", on=arn),
        allow("codestar-connections:UseConnection", on=arn.replace("codeconnections", "codestar-connections")),
    ]


def runs(project: str) -> dict[str, Any]:
    actions = ("codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild")
    return allow(*actions, on=f"arn:aws:codebuild:{PLACE}:project/{project}")


def invokes(function: str) -> dict[str, Any]:
    return allow("lambda:InvokeFunction", on=f"arn:aws:lambda:{PLACE}:function:{function}")


LIST = allow("lambda:ListFunctions", on="*")
OF_SOURCE = {
    "CodeCommit": [
        allow(
            "codecommit:GetBranch",
            "codecommit:GetCommit",
            "codecommit:UploadArchive",
            "codecommit:GetUploadArchiveStatus",
            "codecommit:CancelUploadArchive",
            on=f"arn:aws:codecommit:{PLACE}:storefront",
        ),
        allow("s3:ListBucket", on=BUCKET),
    ],
    "Connection": [*use(GITHUB), allow("s3:PutObjectAcl", on=f"{BUCKET}/*", when=MINE)],
    "S3Object": [
        allow("s3:GetObject", "s3:GetObjectVersion", on="arn:aws:s3:::sources/web/source.zip"),
        allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on="arn:aws:s3:::sources"),
    ],
    "EcrImage": [allow("ecr:DescribeImages", on=f"arn:aws:ecr:{PLACE}:repository/web-dev")],
}


@pytest.mark.parametrize("source", [COMMIT, EXISTING, ARCHIVE, IMAGE], ids=lambda source: type(source).__name__)
def test_the_pipeline_may_read_its_source_build_and_release(source: Source) -> None:
    resources = deployed(source)
    assert named(resources, "web-pipeline-policy").inputs["role"] == "web-pipeline-role"
    assert rights(resources, "web-pipeline-policy") == granted(
        [
            *artifact_statements(),
            *OF_SOURCE[type(source).__name__],
            *([] if source is IMAGE else [runs("web")]),
            invokes("web-dev-release"),
            LIST,
        ]
    )


@pytest.mark.parametrize("source", [COMMIT, EXISTING, ARCHIVE], ids=lambda source: type(source).__name__)
def test_without_a_stage_the_pipeline_may_read_its_source_and_build(source: Source) -> None:
    assert rights(deployed(source, stages={}), "web-pipeline-policy") == granted(
        [
            *artifact_statements(),
            *OF_SOURCE[type(source).__name__],
            runs("web"),
        ]
    )


def test_the_pipeline_may_invoke_the_gate_even_without_a_stage() -> None:
    made = statements(deployed(stages={}, scan_gate=ScanGate()), "web-pipeline-policy")
    assert made == [*artifact_statements(), *OF_SOURCE["CodeCommit"], runs("web"), invokes("web-scan-gate"), LIST]


def test_the_pipeline_may_scan_release_to_each_environment_and_request_approval() -> None:
    approval = Approval(notify=["ops@example.com"])
    resources = deployed(
        scan_gate=ScanGate(),
        code_scans=[CodeScan(name="lint", commands=["make lint"])],
        stages={"dev": {"approval": approval}, "prod": {"approval": approval}},
    )
    topic = f"arn:aws:sns:{PLACE}:web"
    assert rights(resources, "web-pipeline-policy") == granted(
        [
            *artifact_statements(),
            *OF_SOURCE["CodeCommit"],
            runs("web"),
            runs("web-lint"),
            invokes("web-scan-gate"),
            invokes("web-dev-release"),
            invokes("web-prod-release"),
            LIST,
            allow("sns:Publish", on=[f"{topic}-dev-approval", f"{topic}-prod-approval"]),
        ]
    )
    made = [json.dumps(statement) for statement in statements(resources, "web-pipeline-policy")]
    assert len(set(made)) == len(made)
    assert [json.loads(each)["Action"] for each in made].count(["sns:Publish"]) == 1


@pytest.mark.parametrize("strategy", [CodeDeployBlueGreen(), Rolling(ecs_action=True)], ids=["CodeDeploy", "ECS"])
def test_the_pipeline_has_the_permissions_of_its_own_deploy_actions(strategy: Strategy) -> None:
    resources = deployed(strategies={"dev": strategy})
    definition, role = f"arn:aws:ecs:{PLACE}:task-definition", "arn:aws:iam::123456789012:role"
    codedeploy = f"arn:aws:codedeploy:{PLACE}"
    of_action = (
        [allow("ecs:DescribeServices", "ecs:UpdateService", on=f"arn:aws:ecs:{PLACE}:service/given-web-dev/web-dev")]
        if isinstance(strategy, Rolling)
        else [
            allow(
                "codedeploy:CreateDeployment",
                "codedeploy:GetDeployment",
                on=f"{codedeploy}:deploymentgroup:web-dev/web-dev",
            ),
            allow(
                "codedeploy:GetApplication",
                "codedeploy:GetApplicationRevision",
                "codedeploy:RegisterApplicationRevision",
                on=f"{codedeploy}:application:web-dev",
            ),
            allow(
                "codedeploy:GetDeploymentConfig",
                on=f"{codedeploy}:deploymentconfig:CodeDeployDefault.ECSCanary10Percent5Minutes",
            ),
        ]
    )
    assert statements(resources, "web-pipeline-policy")[-6 if isinstance(strategy, Rolling) else -8 :] == [
        invokes("web-dev-release"),
        *of_action,
        allow("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", on="*"),
        allow(
            "ecs:TagResource",
            on=[f"{definition}/web-dev:*", f"{definition}/web-dev-template:*"],
            when={"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        ),
        allow(
            "iam:PassRole",
            on=[f"{role}/web-dev-execution-role", f"{role}/web-dev-task-role"],
            when={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        LIST,
    ]


def test_only_codepipeline_can_assume_the_role_and_only_for_this_account() -> None:
    assert trusted(deployed(), "web-pipeline-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codepipeline.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        }
    ]


# Those who release


def test_each_release_function_may_read_this_pipeline_and_run_its_own_tests() -> None:
    asks = allow("codepipeline:GetPipelineExecution", "codepipeline:ListActionExecutions", on=ARN)
    resources = deployed(stages={"dev": {"tests": StageTests(commands=["true"])}, "prod": {}})
    assert rights(resources, "web-dev-confirm") == granted([asks, runs("web-dev-tests")])
    assert rights(resources, "web-prod-confirm") == granted([asks])
    for environment in ("dev", "prod"):
        assert named(resources, f"web-{environment}-confirm").inputs["role"] == f"web-{environment}-release-role"


def test_each_release_function_runs_when_an_execution_of_this_pipeline_did_not_succeed() -> None:
    resources = deployed(stages={"dev": {}, "prod": {}})
    for number, environment in enumerate(("dev", "prod"), 1):
        rule = named(resources, f"web-ended-{number}", "EventRule")
        # https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
        assert rule.json("eventPattern") == {
            "source": ["aws.codepipeline"],
            "detail-type": ["CodePipeline Pipeline Execution State Change"],
            "detail": {"pipeline": ["web"], "state": ["CANCELED", "FAILED", "STOPPED", "SUPERSEDED"]},
        }
        function = f"web-{environment}-release"
        target = named(resources, f"web-ended-{number}-target")
        assert target.inputs == {"rule": rule.name, "arn": f"arn:aws:lambda:{PLACE}:function:{function}"}
        permission = named(resources, f"web-ended-{number}-permission")
        assert permission.inputs == {
            "action": "lambda:InvokeFunction",
            "function": function,
            "principal": "events.amazonaws.com",
            "sourceArn": f"arn:aws:events:{PLACE}:rule/{rule.name}",
        }


def test_codedeploy_may_read_the_artifacts_of_the_pipelines_that_use_it() -> None:
    resources = deployed(strategies={"dev": CodeDeployBlueGreen()})
    assert named(resources, "web-dev-artifacts", "RolePolicy").inputs["role"] == "web-dev-codedeploy-role"
    assert rights(resources, "web-dev-artifacts") == granted(
        [
            allow("s3:GetObject", "s3:GetObjectVersion", on=f"{BUCKET}/*", when=MINE),
            allow(
                "kms:Decrypt",
                on=KEY,
                when={"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
            ),
        ]
    )


def test_roles_have_these_policies_and_no_others() -> None:
    def policies(**args: Any) -> list[str]:
        of_pipeline = [r for r in deployed(**args) if r.parent == "slipway:index:Pipeline"]
        return sorted(r.name for r in of_type(of_pipeline, "aws:iam/rolePolicy:RolePolicy"))

    both: dict[str, Any] = {"stages": {"dev": {}, "prod": {}}}
    of_pipeline = ["web-dev-confirm", "web-pipeline-policy", "web-prod-confirm", "web-push-policy"]
    assert policies(**both) == ["web-build-variables", *of_pipeline]
    # It has no variables to read.
    assert policies(buildspec="b.yml", **both) == of_pipeline
    assert policies(buildspec="b.yml", variables={"LEVEL": "info"}, **both) == ["web-build-variables", *of_pipeline]
    assert policies(strategies={"dev": CodeDeployBlueGreen()}) == [
        "web-build-variables",
        "web-dev-artifacts",
        "web-dev-confirm",
        "web-pipeline-policy",
        "web-push-policy",
    ]


# CodePipeline's limits


def test_codepipeline_accepts_every_pipeline() -> None:
    window = Window(cron="* * 9-16 ? * MON-FRI")
    stage = {"approval": Approval(notify=["ops@example.com"]), "tests": StageTests(commands=["true"]), "window": window}
    push = [
        Push(branches=Filter(includes=["main"]), file_paths=Filter(excludes=["docs/**"])),
        Push(tags=Filter(includes=["v*"])),
    ]
    everything = {
        "scan_gate": ScanGate(),
        "code_scans": [CodeScan(name="lint", commands=["true"])],
        "stages": {"dev": stage, "prod": stage},
        "strategies": {"dev": CodeDeployBlueGreen(), "prod": Rolling(ecs_action=True)},
        "variables": {"LEVEL": "info"},
        "execution_mode": "QUEUED",
    }
    for resources in (
        deployed(connection(push=push), **everything),
        deployed(ARCHIVE, stages={}),
        deployed(IMAGE, stages={"dev": stage}),
    ):
        request_ = shapes.pipeline(only(resources, PIPELINE).inputs)
        assert shapes.mistakes("codepipeline", "CreatePipeline", request_) == []


def test_the_longest_variables_fit_in_an_action() -> None:
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    variables: dict[str, str] = {}
    for length in range(1, 200):
        try:
            PipelineSettings(variables={**variables, f"V{'x' * length}": "x"})
        except ValueError:
            break
        variables[f"V{'x' * length}"] = "x"

    def longest(source: Source) -> Pipeline:
        return pipeline("w" * 40, source=source, build=build("web"), stages=[], variables=variables)

    for source in (COMMIT, ARCHIVE):
        [action] = stages(deploy(partial(longest, source)))["Build"]
        assert 800 < len(action["configuration"]["EnvironmentVariables"]) <= 1000


def test_a_pipeline_can_have_as_many_variables_as_codepipeline_allows() -> None:
    variables = {f"V{number}": "x" for number in range(48)}
    assert len(only(deployed(stages={}, variables=variables), PIPELINE).inputs["variables"]) == 50
    with pytest.raises(ValueError, match=r"^variables must have at most 48 items, got "):
        PipelineSettings(variables={**variables, "ONE_MORE": "x"})


# Mistakes


def refusal(source: Source = COMMIT, **args: Any) -> list[str]:
    with pytest.raises(ValueError) as error:
        deploy(lambda: program(source, **args))
    return str(error.value).split("\n")


def test_an_invalid_name_of_a_pipeline_is_rejected() -> None:
    names, messages = ["", "web app", "web/app", "web@app", "a" * 41], []

    def program() -> None:
        args = pipeline_args("web")
        for name in names:
            with pytest.raises(ValueError) as error:
                Pipeline(name, args)
            messages.append(str(error.value))

    deploy(program)
    rule = "a pipeline's name must be 2 to 40 characters of a-z 0-9 and single - between them, "
    rule += "starting with a letter, got "
    assert messages == [rule + repr(name) for name in names]


def broken(source: Source, builds: bool, strategies: Mapping[str, Strategy], *scans: str) -> list[str]:
    args = [CodeScan(name=name, commands=["true"]) for name in scans]
    return [message for wrong, message in composition_rules(source, builds, strategies, args, {}) if wrong]


@pytest.mark.parametrize(
    ("source", "builds", "strategies", "scans", "message"),
    [
        (IMAGE, True, {"dev": Rolling()}, (), "build must not be set if the source is an image: it is built already"),
        (COMMIT, False, {"dev": Rolling()}, (), "build must be given, unless the source is an image"),
        *(
            (
                EcrImage(repository="web", tag=tag),
                False,
                {"dev": Rolling(), "p.d": Rolling()},
                (),
                f"source must not be the tag {tag}, which the releases of this pipeline move: each would start it "
                "again",
            )
            for tag in ("verified-dev", "live-p.d", "verified-dev-0")
        ),
        (IMAGE, False, {}, (), "stages must not be empty if the source is an image"),
        (
            IMAGE,
            False,
            {"dev": Rolling(), "prod": Rolling(ecs_action=True)},
            (),
            "stages must not have ecs_action with an image as source, as in ['prod']: CodePipeline's ECS action takes "
            "what a build wrote",
        ),
        (
            IMAGE,
            False,
            {"dev": Rolling()},
            ("lint",),
            "code_scans must be empty if the source is an image, got ['lint']: there is no code",
        ),
        (
            COMMIT,
            True,
            {},
            ("lint", "snyk", "lint"),
            "code_scans must have different names, got ['lint', 'snyk', 'lint']",
        ),
    ],
    ids=[
        "an image is not built",
        "a commit is built",
        "verified moves",
        "live moves",
        "earlier verified ones move",
        "an image is released",
        "the ECS action reads a build's file",
        "an image has no code",
        "a scan has a name of its own",
    ],
)
def test_invalid_combinations_in_a_pipeline_are_rejected(
    source: Source, builds: bool, strategies: dict[str, Strategy], scans: tuple[str, ...], message: str
) -> None:
    assert broken(source, builds, strategies, *scans) == [message]


@pytest.mark.parametrize(
    ("source", "builds", "strategies", "scans"),
    [
        (COMMIT, True, {}, ()),
        (COMMIT, True, {"dev": Rolling()}, ("lint", "snyk")),
        (IMAGE, False, {"prod": Rolling()}, ()),
        (EcrImage(repository="web", tag="live-dev-0"), False, {"dev": Rolling()}, ()),
        (EcrImage(repository="web", tag="verified-pxd"), False, {"p.d": Rolling()}, ()),
        (EXISTING, True, {"dev": Rolling(ecs_action=True)}, ()),
        (IMAGE, False, {"prod": CodeDeployBlueGreen()}, ()),
    ],
)
def test_valid_combinations_in_a_pipeline_are_accepted(
    source: Source, builds: bool, strategies: dict[str, Strategy], scans: tuple[str, ...]
) -> None:
    assert broken(source, builds, strategies, *scans) == []


SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"


@pytest.mark.parametrize("where", [{"environment": "x"}, {"secrets": SECRET}], ids=["environment", "secrets"])
def test_a_variable_that_would_override_one_of_a_scan_is_rejected(where: dict[str, str]) -> None:
    args: dict[str, Any] = {key: {"LEVEL": value, "A": value, "MINE": value} for key, value in where.items()}
    scan = CodeScan(name="lint", commands=["true"], **args)
    assert refusal(code_scans=[scan], variables={"LEVEL": "info", "A": "1", "OTHER": "1"}) == [
        "variables must not have the names that code_scans have in environment or secrets, got ['A', 'LEVEL']: the "
        "scan would get the variable instead"
    ]


@pytest.mark.parametrize("where", [{"environment": "x"}, {"secrets": SECRET}], ids=["environment", "secrets"])
def test_a_scan_cannot_override_what_its_variables_are_read_with(where: dict[str, str]) -> None:
    args: dict[str, Any] = {key: {"PIPELINE_NAME": value, "MINE": value} for key, value in where.items()}
    scan = CodeScan(name="lint", commands=["true"], **args)
    assert refusal(code_scans=[scan], variables={"LEVEL": "info"}) == [
        "variables must not be given where code_scans have ['PIPELINE_NAME'] in environment or secrets: the variables "
        "are read by that"
    ]
    deployed(code_scans=[scan])


def test_all_invalid_combinations_are_reported_at_once_before_the_pipeline_is_created() -> None:
    assert refusal(IMAGE, stages={}, code_scans=[CodeScan(name="lint", commands=["true"])]) == [
        "stages must not be empty if the source is an image",
        "code_scans must be empty if the source is an image, got ['lint']: there is no code",
    ]


def test_scans_and_tests_get_the_files_of_a_clone_from_the_build() -> None:
    source = CodeCommit(repository="web", full_clone=True)
    scan, tests = CodeScan(name="lint", commands=["true"]), StageTests(commands=["true"])
    resources = deployed(source, code_scans=[scan], stages={"dev": {"tests": tests}})
    actions = {action["name"]: action for each in stages(resources).values() for action in each}
    assert actions["Build"]["outputArtifacts"] == ["BuildArtifact", "Checkout"]
    assert actions["lint"]["inputArtifacts"] == ["Checkout"]
    assert actions["Deploy"]["inputArtifacts"] == ["BuildArtifact", "Checkout"]
    assert rights(resources, "web-build-clone") == granted(
        [{"Effect": "Allow", "Action": ["codecommit:GitPull"], "Resource": f"arn:aws:codecommit:{PLACE}:web"}]
    )


@pytest.mark.parametrize("cloned", [True, False])
def test_the_build_and_the_source_are_both_of_a_clone_or_of_an_archive(cloned: bool) -> None:
    def differ() -> Pipeline:
        registry = Registry("web")
        made = build("web-build", registry=registry, full_clone=not cloned)
        return pipeline("web", source=CodeCommit(repository="web", full_clone=cloned), build=made, stages=[])

    with pytest.raises(ValueError) as error:
        deploy(differ)
    assert str(error.value) == (
        f"build must have full_clone={cloned}, as source has: with it, it outputs the files of the commit too"
    )


def test_two_stages_of_one_environment_are_rejected() -> None:
    def twice() -> Pipeline:
        registry = Registry("web")
        stage = DeployStage(service=service("web", environment_name="dev", registry=registry))
        return pipeline("web", build=build("web-build", registry=registry), stages=[stage, stage])

    with pytest.raises(ValueError) as error:
        deploy(twice)
    assert str(error.value) == "stages must have services in different environments, got ['dev', 'dev']"


@pytest.mark.parametrize("source", [COMMIT, IMAGE], ids=["build", "image"])
def test_a_service_with_images_of_another_repository_is_rejected(source: Source) -> None:
    def elsewhere() -> Pipeline:
        made: Build | None = build("web", registry=Registry("web-dev")) if source is COMMIT else None
        stage = DeployStage(service=service("web", environment_name="dev", registry=Registry("other")))
        return pipeline("web", source=source, build=made, stages=[stage])

    with pytest.raises(ValueError) as error:
        deploy(elsewhere)
    assert str(error.value) == "stages must have services that take images from web-dev, got ['other']"


TAKEN = [
    "BASHOPTS",
    "BASH_ENV",
    "BASH_VERSINFO",
    "BUILDKITD_CONFIG",
    "BUILDKIT_HOST",
    "BUILDX_CONFIG",
    "BUILD_ARGS",
    "BUILD_SECRETS",
    "BUILD_SECRET_0",
    "COMMIT_ID",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "EUID",
    "HOME",
    "IFS",
    "IMAGE_DIGEST",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PATH",
    "PIPELINE_EXECUTION_ID",
    "PIPELINE_NAME",
    "DOCKER_HUB_MIRROR",
    "PULL_REGISTRIES",
    "REBUILD",
    "REGISTRY_LOGINS",
    "REGISTRY_LOGIN_0_PASSWORD",
    "TARGET",
    "PIPELINE_VARIABLES",
    "PPID",
    "PS4",
    "REPOSITORY_URL",
    "SHELLOPTS",
    "TMPDIR",
    "UID",
]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"variables": {name: "1" for name in [*TAKEN, "MINE"]}},
            f"variables must not have names that Slipway's build uses, got {TAKEN}",
        ),
        (
            {"variables": {letter * 128: "1" for letter in "STUVWXY"}},
            "variables must have names of at most 800 characters in total, got 1190: use fewer or shorter names",
        ),
        (
            {"variables": {"TOKEN": "ghp_" + "a" * 36}},
            "variables['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the resource "
            "can read it; read it from Secrets Manager in the commands, or add its name to not_secret if it is not a "
            "secret",
        ),
        ({"not_secret": ["A"]}, "not_secret must contain only names in variables, got ['A']"),
    ],
    ids=["taken", "length", "a secret", "no variable"],
)
def test_invalid_variables_of_a_pipeline_are_rejected(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        PipelineSettings(**args)
    assert str(error.value) == message


@cache
def build_reads() -> set[str]:
    [project] = [r for r in deployed() if r.type == "aws:codebuild/project:Project"]
    return {variable["name"] for variable in project.inputs["environment"]["environmentVariables"]}


def test_no_variable_of_the_pipeline_can_override_one_of_the_build() -> None:
    for name in sorted(build_reads()):
        with pytest.raises(ValueError, match="must not have names that Slipway's build uses"):
            PipelineSettings(variables={name: "1"})


def test_a_description_is_as_short_as_it_must_be() -> None:
    def program() -> None:
        given = registry("r" * 256)
        source = S3Object(bucket="sources", key="k" * 996 + ".zip")
        pipeline("web", source=source, build=build("app", registry=given), stages=[], scan_gate=ScanGate())

    resources = deploy(program)
    longest = {
        "aws:codebuild/project:Project": 255,
        "aws:lambda/function:Function": 256,
        "aws:cloudwatch/eventRule:EventRule": 512,
    }
    for type_, length in longest.items():
        assert len(only(resources, type_).inputs["description"]) == length
