import zoneinfo
from typing import Any

import pytest
from slipway import Approval, BlueGreen, Canary, DeployStage, Migration, Rolling, StageTests, Window
from slipway.pipeline.stages import stage_rules
from slipway.strategies import Strategy
from unit.examples import service
from unit.harness import resolved

OFFICE_HOURS = "* * 9-16 ? * MON-FRI"


def window(**args: Any) -> Window:
    return Window(**{"cron": OFFICE_HOURS, **args})


def refusal(make: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        make(**args)
    return str(error.value)


def test_by_default_a_stage_releases_at_any_time_without_approval_or_tests() -> None:
    def args() -> list[object]:
        stage = DeployStage(service=service("api"))
        return [stage.approval is None, stage.tests is None, stage.window is None]

    assert resolved(args) == [True, True, True]


def test_by_default_an_approval_notifies_nobody_and_waits_a_day() -> None:
    approval = Approval()
    assert (approval.notify, approval.timeout_minutes, approval.link) == ((), 1440, None)


def test_a_window_is_in_utc_by_default() -> None:
    assert window().time_zone == "UTC"


EITHER = "cron must have a ? in exactly one of day of the month and day of the week, got "


@pytest.mark.parametrize("cron", ["* * 9-16 * * MON-FRI", "* * 9-16 ? * ?"])
def test_exactly_one_of_the_two_days_of_a_window_is_a_question_mark(cron: str) -> None:
    assert refusal(window, cron=cron) == EITHER + repr(cron)


def test_a_window_with_invalid_days_and_times_is_rejected_for_both() -> None:
    lines = refusal(window, cron="* * 25 * * MON").split("\n")
    assert (len(lines), lines[1]) == (2, EITHER + "'* * 25 * * MON'")


def test_aws_validates_the_time_zone_if_the_machine_has_no_time_zone_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    assert window(time_zone="Europe/Berlin").time_zone == "Europe/Berlin"


# Whether a release with its tests and its rollback fits into the day that an action may take


def lasting(minutes: int) -> Any:
    """A different name, because pytest would collect the class as tests."""
    return StageTests(commands=["make smoke"], timeout_minutes=minutes)


def too_long(strategy: int, minutes: int) -> str:
    return (
        f"tests must end, with a release and a rollback of {strategy} minutes each, within 1400 minutes, got "
        f"{minutes}: CodePipeline ends an action after 24 hours"
    )


LONG = Canary(deadline_minutes=100, canary_bake_minutes=300, bake_minutes=200)


@pytest.mark.parametrize(
    ("strategy", "minutes", "messages"),
    [
        (Rolling(), None, []),
        (Rolling(deadline_minutes=180), 480, []),
        (LONG, None, []),
        (LONG, 200, []),
        (LONG, 201, [too_long(600, 1401)]),
        (LONG, 480, [too_long(600, 1680)]),
        # The longest possible strategy.
        (Canary(canary_bake_minutes=350, bake_minutes=300), 80, []),
        (Canary(canary_bake_minutes=350, bake_minutes=300), 81, [too_long(660, 1401)]),
    ],
)
def test_a_release_with_its_tests_and_its_rollback_fits_into_a_day(
    strategy: Strategy, minutes: int | None, messages: list[str]
) -> None:
    args = stage_rules(strategy.total_minutes, lasting(minutes) if minutes else None)
    assert [message for wrong, message in args if wrong] == messages


def test_a_stage_that_does_not_fit_into_a_day_is_rejected() -> None:
    def stage() -> DeployStage:
        return DeployStage(service=service("api", strategy=LONG), tests=lasting(201))

    with pytest.raises(ValueError) as error:
        resolved(stage)
    assert str(error.value) == too_long(600, 1401)


@pytest.mark.parametrize(("bake", "messages"), [(330, []), (331, [too_long(701, 1402)])])
def test_a_release_with_its_migration_fits_into_a_day(bake: int, messages: list[str]) -> None:
    migration = Migration(command=["migrate"], timeout_minutes=360)

    def stage() -> list[str]:
        made = service("api", strategy=BlueGreen(bake_minutes=bake), migration=migration)
        try:
            DeployStage(service=made)
        except ValueError as error:
            return str(error).split("\n")
        return []

    assert resolved(stage) == messages
