import zoneinfo
from typing import Any

import pytest
from slipway import Approval, Canary, DeployStage, Rolling, StageTests, Window
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


def test_a_stage_releases_at_any_time_by_itself_and_tests_nothing_unless_it_is_told() -> None:
    def args() -> list[object]:
        stage = DeployStage(service=service("api"))
        return [stage.approval is None, stage.tests is None, stage.window is None]

    assert resolved(args) == [True, True, True]


def test_an_approval_asks_nobody_and_waits_a_day_unless_it_is_told() -> None:
    approval = Approval()
    assert (approval.notify, approval.timeout_minutes, approval.link) == ((), 1440, None)


@pytest.mark.parametrize(
    "args",
    [
        {"timeout_minutes": 5},
        {"timeout_minutes": 86_400},
        {"notify": ["ops@example.com", "dev.lead+slipway@mail.example.com"]},
        {"link": "https://example.com"},
        {"link": f"https://example.com/{'a' * 580}"},
        {"link": "https://github.com/acme/storefront/compare/{live_commit}...{commit}?image={digest}"},
    ],
)
def test_approvals_within_the_rules_are_accepted(args: dict[str, Any]) -> None:
    made = Approval(**args)
    assert {name: getattr(made, name) for name in args} == args


LINK = "link must start with https:// and may have {commit}, {live_commit} and {digest} in it, got "


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"timeout_minutes": 4}, "timeout_minutes must be between 5 and 86400, got 4"),
        ({"timeout_minutes": 86_401}, "timeout_minutes must be between 5 and 86400, got 86401"),
        (
            {"notify": ["ops@example.com", "ops", "ops@example", "o ps@example.com"]},
            "notify must be e-mail addresses, got ['ops', 'ops@example', 'o ps@example.com']",
        ),
        (
            {"notify": ["ops@example.com", "ops@example.com"]},
            "notify must be different, got ['ops@example.com', 'ops@example.com']",
        ),
        ({"link": f"https://example.com/{'a' * 581}"}, "link must be at most 600 characters, got 601"),
        *(
            ({"link": link}, LINK + repr(link))
            for link in (
                "",
                "http://example.com",
                "https://example.com/{branch}",
                "https://example.com/{commit.x}",
                "https://example.com/{commit!r}",
                "https://example.com/{}",
                "https://example.com/{{commit}}",
                # What only opens or only closes would end in an error of Python's, much later.
                "https://example.com/{",
                "https://example.com/{commit}}",
            )
        ),
    ],
)
def test_what_is_no_approval_is_refused_with_the_rule(args: dict[str, Any], message: str) -> None:
    assert refusal(Approval, **args) == message


def test_a_window_is_in_utc_unless_it_is_told() -> None:
    assert window().time_zone == "UTC"


@pytest.mark.parametrize(
    "args",
    [
        {"cron": "* 0/15 8,20 1W * ?"},
        {"cron": "* * * L 1-6 ? 2027"},
        {"cron": "* * 9-16 ? * 2#1"},
        {"time_zone": "Europe/Berlin"},
        {"time_zone": "America/Argentina/Buenos_Aires"},
    ],
)
def test_windows_within_the_rules_are_accepted(args: dict[str, Any]) -> None:
    made = window(**args)
    assert {name: getattr(made, name) for name in args} == args


FIELDS = (
    "cron must have 6 or 7 fields: seconds (always *), minutes, hours, day of the month, month, day of the week, year; "
    "got "
)
EITHER = "cron must have a ? for either the day of the month or the day of the week, whichever is not said, got "
ZONE = "time_zone must be the name of a time zone, such as Europe/Berlin, got "


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        *(
            ({"cron": cron}, [FIELDS + repr(cron)])
            for cron in (
                "",
                "* 9-16 ? * MON-FRI",
                "* * 9-16 ? * MON-FRI 2027 2028",
                "0 * 9-16 ? * MON-FRI",
                "* * 9-16 ? * mon-fri",
                "* * 9_16 ? * MON-FRI",
            )
        ),
        *(({"cron": cron}, [EITHER + repr(cron)]) for cron in ("* * 9-16 * * MON-FRI", "* * 9-16 ? * ?")),
        ({"cron": "0 * 9-16 * * MON"}, [FIELDS + "'0 * 9-16 * * MON'", EITHER + "'0 * 9-16 * * MON'"]),
        ({"time_zone": "Berlin"}, [ZONE + "'Berlin'"]),
        ({"time_zone": ""}, [ZONE + "''"]),
        ({"time_zone": "+01:00"}, [ZONE + "'+01:00'"]),
    ],
)
def test_what_is_no_window_is_refused_with_the_rules(args: dict[str, Any], messages: list[str]) -> None:
    assert refusal(window, **args).split("\n") == messages


def test_aws_says_what_is_a_time_zone_where_the_machine_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    assert window(time_zone="Europe/Berlin").time_zone == "Europe/Berlin"


# Whether a release with its tests and its way back fits into the day that an action may take


def lasting(minutes: int) -> Any:
    """Called by another name, or pytest would take the class for tests."""
    return StageTests(commands=["make smoke"], timeout_minutes=minutes)


def too_long(strategy: int, minutes: int) -> str:
    return (
        f"tests must fit, with twice the strategy's {strategy} minutes, into 1400 minutes, got {minutes}: the action "
        "of the pipeline ends after a day, and the last image must be put back in it"
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
        # The longest that a strategy can be.
        (Canary(canary_bake_minutes=350, bake_minutes=300), 80, []),
        (Canary(canary_bake_minutes=350, bake_minutes=300), 81, [too_long(660, 1401)]),
    ],
)
def test_a_release_its_tests_and_its_way_back_fit_into_a_day(
    strategy: Strategy, minutes: int | None, messages: list[str]
) -> None:
    args = stage_rules(strategy, lasting(minutes) if minutes else None)
    assert [message for wrong, message in args if wrong] == messages


def test_a_stage_that_does_not_fit_into_a_day_is_refused() -> None:
    def stage() -> DeployStage:
        return DeployStage(service=service("api", strategy=LONG), tests=lasting(201))

    with pytest.raises(ValueError) as error:
        resolved(stage)
    assert str(error.value) == too_long(600, 1401)
