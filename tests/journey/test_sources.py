"""What starts a pipeline: tags, the files that a push changes, and archives in S3."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

from standin.provider import Resource
from standin.world import World, sample_app

from .conftest import RELEASED, Stack, ended, failures

Make = Callable[..., Stack]
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"


def by_connection(stack: Make, name: str = "dev", **settings: Any) -> Stack:
    source = {"connection": {"arn": GITHUB, "repository": "acme/storefront", **settings}}
    made = stack(name, real_build=True, config={"slipway:source": source})
    made.account.codepipeline.repositories["acme/storefront"] = made.repository.folder
    return made


def test_a_push_starts_the_pipeline_only_if_it_matches_the_trigger(stack: Make) -> None:
    push = [{"branches": {"includes": ["main"]}, "filePaths": {"includes": ["app/**"], "excludes": ["app/NOTES"]}}]
    dev = by_connection(stack, push=push)
    pipeline = dev.account.codepipeline
    assert pipeline.push("acme/storefront", "main", files=["docs/a.md"]) == []
    assert pipeline.push("acme/storefront", "main", files=["app/NOTES"]) == []
    assert pipeline.push("acme/storefront", "other", files=["app/server.py"]) == []
    [execution] = pipeline.push("acme/storefront", "main", files=["app/server.py"])
    assert ended(execution) == RELEASED


def test_a_tag_starts_the_pipeline_and_its_commit_is_released(stack: Make) -> None:
    dev = by_connection(stack, push=[{"tags": {"includes": ["v*"], "excludes": ["v*-rc*"]}}])
    pipeline = dev.account.codepipeline
    assert pipeline.push("acme/storefront", "main") == []
    assert pipeline.push_tag("acme/storefront", "v2-rc1") == []
    dev.repository.tag("v2")
    [execution] = pipeline.push_tag("acme/storefront", "v2")
    assert failures(execution) == []
    assert (ended(execution), dev.image) == (RELEASED, f"@{execution.digest}")


def test_a_new_connection_is_pending_and_up_says_where_to_complete_it(stack: Make) -> None:
    source = {"connection": {"providerType": "GitHub", "repository": "acme/storefront"}}
    dev = stack()
    dev.workspace.configure({"slipway:source": source})
    output = dev.workspace.up().text
    arn = dev.account.aws.find("aws:codeconnections/connection:Connection").outputs["arn"]
    assert (
        f"the connection {arn} is PENDING, and the pipeline storefront-dev cannot start: complete it at "
        "https://eu-west-1.console.aws.amazon.com/codesuite/settings/connections, then start the pipeline"
    ) in output
    dev.account.connections.complete()
    assert "PENDING" not in dev.workspace.up(refresh=True).text
    assert dev.workspace.preview(refresh=True).changes == []


def test_an_upload_to_s3_is_built_with_its_version_as_tag_and_released(stack: Make, account: World) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="acme-sources", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="acme-sources", VersioningConfiguration={"Status": "Enabled"})
    notification = "aws:s3/bucketNotification:BucketNotification"
    inputs = {"bucket": "acme-sources", "eventbridge": True}
    account.aws.resources["sources"] = Resource("urn::sources", notification, "acme-sources", inputs, inputs)
    source = {"s3": {"bucket": "acme-sources", "key": "shop/source.zip"}}
    dev = stack(real_build=True, config={"slipway:source": source})

    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path, text in sample_app().items():
            archive.writestr(path, text)
    version = s3.put_object(Bucket="acme-sources", Key="shop/source.zip", Body=body.getvalue())["VersionId"]
    account.codepipeline.uploaded("acme-sources", "shop/source.zip")
    [execution] = account.codepipeline.settle()
    assert (ended(execution), dev.image) == (RELEASED, f"@{execution.digest}")
    assert [digest for tag, digest in dev.tags().items() if tag.startswith(f"s3-{version}-")] == [execution.digest]
    assert dev.state("verified")["commit"] == f"s3-{version}"
