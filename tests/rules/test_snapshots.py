"""The rules for restored accounts: nothing that happened since the snapshot remains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import snapshots, tools
from standin.world import World

MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [],
}


@pytest.fixture
def account() -> Iterator[World]:
    with tools.registry() as address:
        if address.images is None:
            pytest.skip(snapshots.NOT_RESTORABLE)
        with World(address, {}, Path("pulumi")) as made:
            yield made


def put_image(account: World, tag: str) -> None:
    manifest = json.dumps({**MANIFEST, "annotations": {"tag": tag}})
    account.ecr.put_image({"repositoryName": "images", "imageManifest": manifest, "imageTag": tag})


def put_parameter(account: World, value: str) -> None:
    account.client("ssm").put_parameter(Name="/state", Value=value, Type="String", Overwrite=True)


def test_motos_state_is_restored_with_all_versions_and_nothing_else(account: World) -> None:
    s3, place = account.client("s3"), {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration=place)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="kept", Key="a", Body=b"first")["VersionId"]
    put_parameter(account, "before")
    topic = account.client("sns").create_topic(Name="kept")["TopicArn"]
    snapshot = account.snapshot()

    s3.put_object(Bucket="kept", Key="a", Body=b"second")
    s3.create_bucket(Bucket="new", CreateBucketConfiguration=place)
    put_parameter(account, "after")
    account.client("sns").create_topic(Name="new")
    for _ in range(2):
        account.restore(snapshot)
        s3, ssm = account.client("s3"), account.client("ssm")
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["kept"]
        assert [v["VersionId"] for v in s3.list_object_versions(Bucket="kept")["Versions"]] == [version]
        assert s3.get_object(Bucket="kept", Key="a")["Body"].read() == b"first"
        found = ssm.get_parameter(Name="/state")["Parameter"]
        assert (found["Value"], found["Version"]) == ("before", 1)
        assert [found["TopicArn"] for found in account.client("sns").list_topics()["Topics"]] == [topic]
        with pytest.raises(ClientError, match="BucketAlreadyOwnedByYou"):
            s3.create_bucket(Bucket="kept", CreateBucketConfiguration=place)
        # It can be changed again, and the next restoration removes that too.
        put_parameter(account, "after")
        s3.create_bucket(Bucket="new", CreateBucketConfiguration=place)


def test_images_are_restored(account: World) -> None:
    account.ecr.create_repository({"repositoryName": "images"})
    put_image(account, "first")
    snapshot = account.snapshot()
    put_image(account, "second")
    account.restore(snapshot)
    images = account.ecr.describe_images({"repositoryName": "images"})["imageDetails"]
    assert [image["imageTags"] for image in images] == [["first"]]
    put_image(account, "third")
    assert len(account.ecr.describe_images({"repositoryName": "images"})["imageDetails"]) == 2


def test_replaced_hooks_and_methods_are_restored(account: World) -> None:
    snapshot, before = account.snapshot(), account.clock.now()
    account.ecs.fault = lambda definition: "exit 1"
    account.codepipeline.approve = lambda execution, action: False
    account.clock.sleep = lambda seconds: None  # type: ignore[method-assign]
    account.ecs.update_service = lambda params: {}  # type: ignore[method-assign]
    account.connections.status["arn"] = "PENDING"
    account.ecs.start_seconds = 200
    account.restore(snapshot)
    account.clock.sleep(5)
    assert account.clock.now() == before + 5
    assert account.ecs.fault({}) is None
    assert "update_service" not in vars(account.ecs)
    assert (account.connections.status, account.ecs.start_seconds) == ({}, 20.0)


def test_objects_that_were_shared_are_shared_after_a_restoration(account: World) -> None:
    account.restore(account.snapshot())
    account.elb.set("rule", [{"type": "forward", "targetGroupArn": "a"}])
    account.elb.shift("rule", {"b": 100}, "role")
    assert [call.operation for call in account.api.calls] == ["ModifyRule"]
    account.client("ssm").describe_parameters()
    assert [call.principal for call in account.api.calls] == ["role", "pulumi"]


def test_an_account_is_unchanged_until_something_is_done_to_it(account: World) -> None:
    snapshot = account.snapshot()
    assert account.unchanged_since(snapshot)
    account.ecs.fault = lambda definition: None
    assert not account.unchanged_since(snapshot)
    account.restore(snapshot)
    again = account.snapshot()
    assert account.unchanged_since(again)
    account.client("ssm")
    assert not account.unchanged_since(again)


def test_the_log_of_the_functions_is_restored(account: World) -> None:
    log = account.lambdas.log_path
    snapshots = []
    for text in ("", "before\n", "before\nafter\n"):
        log.write_text(text)
        snapshots.append(account.snapshot())
    for number, text in ((0, ""), (1, "before\n"), (2, "before\nafter\n"), (1, "before\n")):
        account.restore(snapshots[number])
        assert log.read_text() == text


def test_an_account_with_something_in_progress_cannot_be_saved(account: World) -> None:
    steps = (step for step in "ab")
    account.clock.steps = steps  # type: ignore[attr-defined]
    with pytest.raises(snapshots.Unsettled):
        account.snapshot()
    assert list(steps) == ["a", "b"]
    account.snapshot()
