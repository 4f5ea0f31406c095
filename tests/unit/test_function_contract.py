"""Stored and transmitted data can be read by older and by newer versions."""

import json
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest
from slipway.release.function import contract
from slipway.release.function.contract import (
    Claim,
    FunctionEnvironment,
    Image,
    JobTask,
    Migration,
    MigrationTask,
    Phase,
    Process,
    Rollout,
    Settings,
    State,
    UserParameters,
    Verified,
    decode,
    document,
    encode,
    settings_text,
    sha256,
    variables,
)
from unit.releases import CLAIM, DIGEST, NEW, NOW, OLD, OLD_DIGEST, SETTINGS, URL, VERIFIED

BALANCER = {
    "targetGroupArn": "arn:g",
    "containerName": "app",
    "containerPort": 8080,
    "advancedConfiguration": {"alternateTargetGroupArn": "arn:h", "roleArn": "arn:r"},
}
FULL_CLAIM = Claim(
    image=NEW,
    commit="c0ffee",
    execution="execution-1",
    pipeline="shop",
    action="action-1",
    began=NOW,
    phase=Phase.ROLLING_BACK,
    since=NOW + 0.25,
    after=NOW - 1.5,
    fallback="arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev:6",
    stage="dev",
    build="shop-dev-tests:0f1",
    reason="Der Test „Smoke“ schlug fehl.",
    who="StartPipelineExecution arn:aws:iam::123456789012:user/ann",
    replaced=OLD_DIGEST,
    fallbacks={"worker": "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev-worker:6"},
)
SPOT = {"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}
WORKER = Process("worker", "shop-dev-worker", SETTINGS)
MIGRATES = MigrationTask("arn:template", "shop-dev-migration", 20, "/ecs/shop-dev", "migration", [SPOT])
REPORT = JobTask("report", "arn:report", "shop-dev-report")
FULL_SETTINGS = replace(
    SETTINGS,
    load_balancers=[BALANCER],
    target_groups=["arn:g", "arn:h"],
    processes=[WORKER],
    order=[["web"], ["worker"]],
    migration=MIGRATES,
    jobs=[REPORT],
    assign_public_ip=True,
    capacity=[SPOT],
    service_connect={"enabled": True, "namespace": "arn:namespace", "services": []},
)
FULL_MIGRATION = Migration(
    started=1780000001.5,
    image=NEW,
    action="action-1",
    intended=NOW + 0.5,
    definition="arn:migration:1",
    subnets=["subnet-3"],
    security_groups=["sg-1"],
    task="arn:task",
    ended=True,
    succeeded=True,
    reason="migrated by the task 1",
    assign_public_ip=True,
    capacity=[SPOT],
)
FULL_VERIFIED = Verified(OLD, "0ff1ce", "execution-0", [(OLD_DIGEST, 1), (DIGEST, 0)], ["worker"])
FULL_STATE = State(
    version=7,
    settings=FULL_SETTINGS,
    claim=FULL_CLAIM,
    verified=FULL_VERIFIED,
    rollout_after=NOW + 0.5,
    live_settings="5e77",
    bounds=(2, 6),
    restart_after=NOW - 0.5,
    other_bounds={"worker": (1, 3)},
    migration=FULL_MIGRATION,
    migrated=[OLD_DIGEST],
)
ENVIRONMENT = FunctionEnvironment(
    cluster="shop",
    service="shop-dev",
    family="shop-dev",
    container="app",
    environment="dev",
    repository_url=URL,
    keep_verified=5,
    table="shop-dev-release",
    settings_sha256="0" * 64,
    service_url="https://shop.example.com",
    codedeploy_group="shop-dev",
)
FULL: list[Any] = [
    FULL_SETTINGS,
    WORKER,
    MIGRATES,
    REPORT,
    FULL_MIGRATION,
    FULL_CLAIM,
    FULL_VERIFIED,
    FULL_STATE,
    ENVIRONMENT,
    Rollout(settings=encode(FULL_SETTINGS), part=2, parts=3),
    UserParameters(
        step="deploy", pipeline="shop", execution="execution-1", commit="c0ffee", digest=DIGEST, tests="shop-dev-tests"
    ),
]
every_class = pytest.mark.parametrize("full", FULL, ids=lambda value: type(value).__name__)
STRANGE = {str: 7, int: "7", float: "7", list: {}, dict: [], bool: "x"}


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(encode(value)))


def test_every_class_has_a_sample_without_defaults() -> None:
    kinds = {
        kind for kind in vars(contract).values() if isinstance(kind, type) and is_dataclass(kind) and kind is not Image
    }
    assert {type(full) for full in FULL} == kinds
    left = [
        f"{type(full).__name__}.{field.name}"
        for full in FULL
        for field in fields(full)
        if getattr(full, field.name) == field.default or getattr(full, field.name) in ([], {}, None)
    ]
    assert left == []


@every_class
def test_what_is_written_is_read_back(full: Any) -> None:
    assert decode(type(full), through_json(full)) == full


@every_class
def test_an_unknown_key_is_ignored(full: Any) -> None:
    assert decode(type(full), {**through_json(full), "newer": {"a": [1]}}) == full


def test_an_unknown_nested_key_is_ignored_too() -> None:
    written = through_json(FULL_STATE)
    for part in ("settings", "claim", "verified", "migration"):
        written[part]["newer"] = 1
    assert decode(State, written) == FULL_STATE


@every_class
def test_a_missing_key_gets_its_default(full: Any) -> None:
    kind, written = type(full), through_json(full)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    read = decode(kind, {key: value for key, value in written.items() if key in needed})
    for field in fields(kind):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        assert getattr(read, field.name) == (getattr(full, field.name) if field.name in needed else default)


@every_class
def test_a_missing_key_without_a_default_is_an_error_that_names_it(full: Any) -> None:
    kind, written = type(full), through_json(full)
    for name in [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]:
        with pytest.raises(ValueError) as error:
            decode(kind, {key: value for key, value in written.items() if key != name})
        assert str(error.value) == f"{kind.__name__} lacks {name}"


@every_class
def test_a_value_of_another_type_is_an_error_that_names_the_field(full: Any) -> None:
    kind, written = type(full), through_json(full)
    for field in fields(kind):
        strange = STRANGE[type(written[field.name])]
        with pytest.raises(ValueError) as error:
            decode(kind, {**written, field.name: strange})
        assert str(error.value).startswith(f"{kind.__name__}.{field.name}: ")
        assert str(strange) in str(error.value)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("settings", "minimum", True, "State.settings: Settings.minimum: expected int, got True"),
        ("settings", "minimum", 2.0, "State.settings: Settings.minimum: expected int, got 2.0"),
        ("settings", "minimum", None, "State.settings: Settings.minimum: expected int, got None"),
        ("settings", "subnets", [1], "State.settings: Settings.subnets: expected str, got 1"),
        ("settings", "load_balancers", ["x"], "State.settings: Settings.load_balancers: expected dict, got 'x'"),
        ("claim", "began", True, "State.claim: Claim.began: expected float, got True"),
        ("claim", "phase", "going", "State.claim: Claim.phase: 'going' is not a valid Phase"),
        (
            "claim",
            "image",
            "shop:latest",
            "State.claim: Claim.image: an image must be <repository>@sha256:<64 hexadecimal digits>, got 'shop:latest'",
        ),
        ("verified", "slots", [["a", 1, 2]], "State.verified: Verified.slots: expected tuple, got ['a', 1, 2]"),
        ("claim", "fallbacks", {"worker": 1}, "State.claim: Claim.fallbacks: expected str, got 1"),
        ("verified", "slots", [["a", "1"]], "State.verified: Verified.slots: expected int, got '1'"),
    ],
)
def test_an_error_in_a_nested_value_has_its_path(part: str, key: str, value: Any, message: str) -> None:
    written = through_json(FULL_STATE)
    written[part][key] = value
    with pytest.raises(ValueError) as error:
        decode(State, written)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_a_value_that_is_not_an_object_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError) as error:
        decode(Settings, value)
    assert str(error.value) == f"expected an object for Settings, got {value!r}"


def test_a_time_may_be_a_whole_number() -> None:
    read = decode(Claim, {**through_json(CLAIM), "began": 7})
    assert (read.began, type(read.began)) == (7.0, float)


# Images


@pytest.mark.parametrize(
    ("uri", "image"),
    [
        (f"{URL}@{DIGEST}", NEW),
        (f"a@sha256:{'0123456789abcdef' * 4}", Image("a", f"sha256:{'0123456789abcdef' * 4}")),
        (f"host:5000/a/b@{DIGEST}", Image("host:5000/a/b", DIGEST)),
    ],
)
def test_an_image_is_a_repository_with_a_digest(uri: str, image: Image) -> None:
    assert Image.parse(uri) == image
    assert str(image) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "@",
        URL,
        f"{URL}:latest",
        f"@{DIGEST}",
        f"{URL}@",
        f"{URL}@{DIGEST[:-1]}",
        f"{URL}@{DIGEST}a",
        f"{URL}@{DIGEST}\n",
        f"{URL}@sha256:{'A' * 64}",
        f"{URL}@sha256:{'g' * 64}",
        f"{URL}@sha512:{'a' * 64}",
        f"{URL}@{DIGEST}@{DIGEST}",
        DIGEST,
    ],
)
def test_an_image_without_a_digest_is_rejected(uri: str) -> None:
    with pytest.raises(ValueError) as error:
        Image.parse(uri)
    assert str(error.value) == f"an image must be <repository>@sha256:<64 hexadecimal digits>, got {uri!r}"


# Variables and documents


def test_the_function_reads_the_variables_that_the_program_writes() -> None:
    written = {key: str(value) for key, value in variables(**encode(ENVIRONMENT)).items()}
    assert written.keys() == {field.name.upper() for field in fields(FunctionEnvironment)}
    assert FunctionEnvironment.read({**written, "PATH": "/bin", "cluster": "another"}) == ENVIRONMENT


def test_missing_variables_get_their_default_or_are_named_in_the_error() -> None:
    written = {key: str(value) for key, value in variables(**encode(ENVIRONMENT)).items()}
    del written["SERVICE_URL"], written["CODEDEPLOY_GROUP"]
    assert FunctionEnvironment.read(written) == replace(ENVIRONMENT, service_url="", codedeploy_group="")
    del written["TABLE"]
    with pytest.raises(ValueError, match="^FunctionEnvironment lacks table$"):
        FunctionEnvironment.read(written)


@pytest.mark.parametrize("values", [{}, {"settings": {}, "part": 1, "more": 1}, {"part": 1, "parts": 1}])
def test_a_document_has_the_keys_of_its_class_and_all_that_have_no_default(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError) as error:
        document(Rollout, **values)
    assert str(error.value) == f"Rollout has the fields ['part', 'parts', 'settings'], got {sorted(values)}"


def test_a_document_may_omit_keys_with_a_default() -> None:
    assert document(Rollout, settings={"a": 1}) == {"settings": {"a": 1}}


def test_the_same_settings_are_the_same_text_in_any_order() -> None:
    written = encode(FULL_SETTINGS)
    again = dict(reversed(written.items()))
    assert list(again) != list(written)
    assert settings_text(again) == settings_text(written)
    assert settings_text({**written, "minimum": 1}) != settings_text(written)


def test_the_hash_of_a_text_is_that_of_its_utf_8_bytes() -> None:
    assert sha256("ü") == "607474ca475a9724d7360aba71a56d5df77e61350e3f724cfa1f46e857e2d85f"
    assert sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# Derived values


@pytest.mark.parametrize(("maximum", "scales"), [(2, False), (3, True)])
def test_a_service_scales_if_its_maximum_of_tasks_exceeds_its_minimum(maximum: int, scales: bool) -> None:
    assert replace(SETTINGS, minimum=2, maximum=maximum).scales is scales


@pytest.mark.parametrize(
    ("deployment", "shifts"),
    [
        ({}, False),
        ({"maximumPercent": 200}, False),
        ({"strategy": "ROLLING"}, False),
        *(({"strategy": strategy}, True) for strategy in ("BLUE_GREEN", "CANARY", "LINEAR")),
    ],
)
def test_every_strategy_but_rolling_shifts_traffic(deployment: dict[str, Any], shifts: bool) -> None:
    assert replace(SETTINGS, deployment=deployment).shifts_traffic is shifts


@pytest.mark.parametrize("phase", Phase)
def test_a_claim_counts_until_it_is_verified_or_fails(phase: Phase) -> None:
    assert replace(CLAIM, phase=phase).active is (phase.value in ("migrating", "deploying", "testing"))


@pytest.mark.parametrize("phase", Phase)
def test_the_image_of_a_claim_is_to_run_after_its_migration(phase: Phase) -> None:
    assert replace(CLAIM, phase=phase).deploys is (phase.value in ("deploying", "testing"))


def test_a_claim_and_a_verified_image_of_the_first_version_can_be_read() -> None:
    """As they were written by the first version: renaming a key would lose releases in progress."""
    claim = {
        "image": str(NEW),
        "commit": "c0ffee",
        "execution": "execution-1",
        "pipeline": "shop",
        "action": "action-1",
        "began": NOW,
        "phase": "rolling back",
        "since": NOW + 0.25,
        "after": NOW - 1.5,
        "fallback": "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev:6",
        "stage": "dev",
        "build": "shop-dev-tests:0f1",
        "reason": "Der Test „Smoke“ schlug fehl.",
        "who": "StartPipelineExecution arn:aws:iam::123456789012:user/ann",
        "replaced": OLD_DIGEST,
    }
    assert {key: value for key, value in through_json(FULL_CLAIM).items() if key in claim} == claim
    assert decode(Claim, claim) == replace(FULL_CLAIM, fallbacks={})
    verified = {"image": str(OLD), "commit": "0ff1ce", "execution": "execution-0", "slots": [[OLD_DIGEST, 0]]}
    assert through_json(VERIFIED) == {**verified, "processes": []}
    assert decode(Verified, verified) == VERIFIED
