import json
from functools import cache
from typing import Any

import pytest
from slipway import Approval, CodeCommit, Connection, DeployStage, Pipeline
from unit.examples import build, pipeline, pipeline_args, registry, service
from unit.harness import Resource, deploy, named, of_type, only, statements, trusted

PIPELINE = "aws:codepipeline/pipeline:Pipeline"
PLACE = "eu-west-1:123456789012"
ARN = f"arn:aws:codepipeline:{PLACE}:web"
BUCKET, KEY = "arn:aws:s3:::web-artifacts", f"arn:aws:kms:{PLACE}:key/web-artifacts-key"
COMMIT = CodeCommit(repository="storefront", branch="main")
GITHUB = f"arn:aws:codeconnections:{PLACE}:connection/0f-1"
CONNECTION = Connection(arn=GITHUB, repository="acme/storefront", branch="release")


@cache
def deployed(
    source: CodeCommit | Connection = COMMIT, approval: Approval | None = None, buildspec: str | None = None
) -> list[Resource]:
    def program() -> Pipeline:
        dev = service("web-dev", environment_name="dev")
        prod = service("web-prod", environment_name="prod")
        return pipeline(
            "web",
            source=source,
            build=build("web", registry=registry("web"), buildspec=buildspec),
            stages=[DeployStage(service=dev), DeployStage(service=prod, approval=approval)],
        )

    return deploy(program)


def stages(resources: list[Resource]) -> dict[str, list[dict[str, Any]]]:
    return {stage["name"]: stage["actions"] for stage in only(resources, PIPELINE).inputs["stages"]}


DIGEST = {"digest": "#{Build.IMAGE_DIGEST}"}


def deploy_action(environment: str, run_order: int, of_build: dict[str, str] = DIGEST) -> dict[str, Any]:
    parameters = {
        "pipeline": "web",
        "execution": "#{codepipeline.PipelineExecutionId}",
        "commit": "#{Source.CommitId}",
        **of_build,
    }
    return {
        "name": "Deploy",
        "category": "Invoke",
        "owner": "AWS",
        "provider": "Lambda",
        "version": "1",
        "configuration": {
            "FunctionName": f"web-{environment}-release",
            "UserParameters": json.dumps(parameters),
        },
        "inputArtifacts": ["BuildArtifact"],
        "namespace": f"Deploy-{environment}",
        "runOrder": run_order,
    }


def test_a_newer_commit_replaces_those_that_wait() -> None:
    inputs = dict(only(deployed(), PIPELINE).inputs)
    assert [stage["name"] for stage in inputs.pop("stages")] == ["Source", "Build", "dev", "prod"]
    assert inputs == {
        "name": "web",
        "pipelineType": "V2",
        "executionMode": "SUPERSEDED",
        "roleArn": "arn:aws:iam::123456789012:role/web-pipeline-role",
        "artifactStores": [
            {"type": "S3", "location": "web-artifacts", "encryptionKey": {"type": "KMS", "id": KEY}},
        ],
    }


def test_the_pipeline_is_made_after_its_role_can_do_its_work() -> None:
    assert only(deployed(), PIPELINE).depends_on == {
        "web-artifacts",
        "web-artifacts-key",
        "web-pipeline-policy",
        "web-pipeline-role",
    }


def test_commits_of_codecommit_are_not_polled_for() -> None:
    assert stages(deployed())["Source"] == [
        {
            "name": "Source",
            "category": "Source",
            "owner": "AWS",
            "provider": "CodeCommit",
            "version": "1",
            "configuration": {
                "RepositoryName": "storefront",
                "BranchName": "main",
                "PollForSourceChanges": "false",
            },
            "outputArtifacts": ["SourceArtifact"],
            "namespace": "Source",
        }
    ]


def test_commits_of_a_connection_come_by_its_trigger_alone() -> None:
    resources = deployed(CONNECTION)
    assert stages(resources)["Source"] == [
        {
            "name": "Source",
            "category": "Source",
            "owner": "AWS",
            "provider": "CodeStarSourceConnection",
            "version": "1",
            "configuration": {
                "ConnectionArn": GITHUB,
                "FullRepositoryId": "acme/storefront",
                "BranchName": "release",
                "OutputArtifactFormat": "CODE_ZIP",
                "DetectChanges": "false",
            },
            "outputArtifacts": ["SourceArtifact"],
            "namespace": "Source",
        }
    ]
    assert only(resources, PIPELINE).inputs["triggers"] == [
        {
            "providerType": "CodeStarSourceConnection",
            "gitConfiguration": {
                "sourceActionName": "Source",
                "pushes": [{"branches": {"includes": ["release"]}}],
            },
        }
    ]
    assert [r.type for r in resources if r.type.startswith("aws:cloudwatch/event")] == []


def test_the_build_is_told_which_commit_it_builds() -> None:
    assert stages(deployed())["Build"] == [
        {
            "name": "Build",
            "category": "Build",
            "owner": "AWS",
            "provider": "CodeBuild",
            "version": "1",
            "configuration": {
                "ProjectName": "web",
                "EnvironmentVariables": '[{"name": "COMMIT_ID", "value": "#{Source.CommitId}", "type": "PLAINTEXT"}]',
            },
            "inputArtifacts": ["SourceArtifact"],
            "outputArtifacts": ["BuildArtifact"],
            "namespace": "Build",
        }
    ]


def test_a_release_is_one_action_of_the_environments_function_and_names_the_digest_that_was_built() -> None:
    assert stages(deployed())["dev"] == [deploy_action("dev", 1)]
    assert stages(deployed())["prod"] == [deploy_action("prod", 1)]


def approve_action(told: str) -> dict[str, Any]:
    return {
        "name": "Approve",
        "category": "Approval",
        "owner": "AWS",
        "provider": "Manual",
        "version": "1",
        "configuration": {"CustomData": told},
        "runOrder": 1,
    }


def test_an_approval_comes_before_the_release_in_the_same_stage() -> None:
    made = stages(deployed(approval=Approval()))
    assert made["dev"] == [deploy_action("dev", 1)]
    assert made["prod"] == [
        approve_action("Release to prod: commit #{Source.CommitId}, image #{Build.IMAGE_DIGEST}"),
        deploy_action("prod", 2),
    ]


def test_of_a_buildspec_of_ones_own_an_approval_and_a_release_name_the_commit_only() -> None:
    made = stages(deployed(approval=Approval(), buildspec="ci/buildspec.yml"))
    assert made["dev"] == [deploy_action("dev", 1, of_build={})]
    assert made["prod"] == [
        approve_action("Release to prod: commit #{Source.CommitId}"),
        deploy_action("prod", 2, of_build={}),
    ]
    assert "#{Build." not in json.dumps(made)


def pipeline_statements(*source: dict[str, Any], then: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mine = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    return [
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation"],
            "Resource": BUCKET,
            "Condition": mine,
        },
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            "Resource": f"{BUCKET}/*",
            "Condition": mine,
        },
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": KEY,
            "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
        },
        *source,
        {
            "Effect": "Allow",
            "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"],
            "Resource": f"arn:aws:codebuild:{PLACE}:project/web",
        },
        *then,
        {
            "Effect": "Allow",
            "Action": ["lambda:InvokeFunction"],
            "Resource": f"arn:aws:lambda:{PLACE}:function:web-dev-release",
        },
        {
            "Effect": "Allow",
            "Action": ["lambda:InvokeFunction"],
            "Resource": f"arn:aws:lambda:{PLACE}:function:web-prod-release",
        },
        {"Effect": "Allow", "Action": ["lambda:ListFunctions"], "Resource": "*"},
    ]


def test_with_codecommit_the_pipeline_may_read_its_repository_build_and_release() -> None:
    resources = deployed()
    assert named(resources, "web-pipeline-policy").inputs["role"] == "web-pipeline-role"
    assert statements(resources, "web-pipeline-policy") == pipeline_statements(
        {
            "Effect": "Allow",
            "Action": [
                "codecommit:GetBranch",
                "codecommit:GetCommit",
                "codecommit:UploadArchive",
                "codecommit:GetUploadArchiveStatus",
                "codecommit:CancelUploadArchive",
            ],
            "Resource": f"arn:aws:codecommit:{PLACE}:storefront",
        },
        then=[{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": BUCKET}],
    )


def test_with_a_connection_the_pipeline_may_use_it_build_and_release() -> None:
    assert statements(deployed(CONNECTION), "web-pipeline-policy") == pipeline_statements(
        {"Effect": "Allow", "Action": ["codeconnections:UseConnection"], "Resource": GITHUB},
        {
            "Effect": "Allow",
            "Action": ["codestar-connections:UseConnection"],
            "Resource": f"arn:aws:codestar-connections:{PLACE}:connection/0f-1",
        },
        then=[
            {
                "Effect": "Allow",
                "Action": ["s3:PutObjectAcl"],
                "Resource": "arn:aws:s3:::web-artifacts/*",
                "Condition": {"StringEquals": {"aws:ResourceAccount": "123456789012"}},
            }
        ],
    )


def test_codepipeline_alone_assumes_the_role_and_only_for_this_account() -> None:
    assert trusted(deployed(), "web-pipeline-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codepipeline.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        }
    ]


def test_a_push_to_the_branch_starts_the_pipeline() -> None:
    rule = only(deployed(), "aws:cloudwatch/eventRule:EventRule")
    assert rule.json("eventPattern") == {
        "source": ["aws.codecommit"],
        "detail-type": ["CodeCommit Repository State Change"],
        "resources": [f"arn:aws:codecommit:{PLACE}:storefront"],
        "detail": {
            "event": ["referenceCreated", "referenceUpdated"],
            "referenceType": ["branch"],
            "referenceName": ["main"],
        },
    }
    assert rule.inputs == {
        "description": "A push to main of storefront",
        "eventPattern": rule.inputs["eventPattern"],
    }
    target = only(deployed(), "aws:cloudwatch/eventTarget:EventTarget")
    assert target.inputs == {
        "rule": "web-push",
        "arn": ARN,
        "roleArn": "arn:aws:iam::123456789012:role/web-push-role",
    }
    assert target.depends_on == {"web", "web-push", "web-push-policy", "web-push-role"}


def test_the_rule_of_a_push_may_start_this_pipeline_and_do_nothing_else() -> None:
    assert trusted(deployed(), "web-push-role") == [
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
    assert named(deployed(), "web-push-policy").inputs["role"] == "web-push-role"
    assert statements(deployed(), "web-push-policy") == [
        {"Effect": "Allow", "Action": ["codepipeline:StartPipelineExecution"], "Resource": ARN}
    ]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_each_release_function_may_ask_this_pipeline_what_it_does(environment: str) -> None:
    policy = f"web-{environment}-confirm"
    assert named(deployed(), policy).inputs["role"] == f"web-{environment}-release-role"
    assert statements(deployed(), policy) == [
        {"Effect": "Allow", "Action": ["codepipeline:ListActionExecutions"], "Resource": ARN}
    ]


def test_roles_have_these_policies_and_no_others() -> None:
    of_pipeline = [r for r in deployed() if r.parent == "slipway:index:Pipeline"]
    policies = of_type(of_pipeline, "aws:iam/rolePolicy:RolePolicy")
    assert sorted(r.name for r in policies) == [
        "web-dev-confirm",
        "web-pipeline-policy",
        "web-prod-confirm",
        "web-push-policy",
    ]


def test_the_pipelines_page_in_the_console() -> None:
    assert only(deployed(), "slipway:index:Pipeline").outputs["console_url"] == (
        "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/web/view"
    )


def test_what_is_no_name_of_a_pipeline_is_refused() -> None:
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


def test_a_pipeline_without_a_stage_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: pipeline("web", stages=[]))
    assert str(error.value) == "stages must be 1 to 48 deploy stages, got 0"


def test_two_stages_of_one_environment_are_refused() -> None:
    def program() -> Pipeline:
        stage = DeployStage(service=service("web", environment_name="dev"))
        return pipeline("web", build=build("web-build"), stages=[stage, stage])

    with pytest.raises(ValueError) as error:
        deploy(program)
    assert str(error.value) == "stages must have services in different environments, got ['dev', 'dev']"
