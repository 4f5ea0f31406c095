from typing import Any

import pytest
from slipway import BlueGreen, Canary, CodeDeployBlueGreen, Hook, Linear, Rolling

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:check"
STAGES = (
    "['RECONCILE_SERVICE', 'PRE_SCALE_UP', 'POST_SCALE_UP', 'TEST_TRAFFIC_SHIFT', 'POST_TEST_TRAFFIC_SHIFT', "
    "'PRODUCTION_TRAFFIC_SHIFT', 'POST_PRODUCTION_TRAFFIC_SHIFT']"
)
PAUSE = Hook(stages=["PRE_SCALE_UP"], timeout_minutes=1)


def hook(**args: Any) -> Hook:
    return Hook(**{"stages": ["PRE_SCALE_UP"], **args})


def refusal(strategy: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        strategy(**args)
    return str(error.value)


def test_by_default_no_capacity_is_lost_during_a_deployment() -> None:
    rolling = Rolling()
    assert (rolling.minimum_healthy_percent, rolling.maximum_percent, rolling.deadline_minutes) == (100, 200, 10)


@pytest.mark.parametrize(
    ("least", "most", "deadline"), [(0, 100, 3), (99, 100, 10), (100, 101, 10), (100, 200, 180), (0, 200, 10)]
)
def test_settings_with_which_ecs_can_replace_tasks_are_accepted(least: int, most: int, deadline: int) -> None:
    rolling = Rolling(minimum_healthy_percent=least, maximum_percent=most, deadline_minutes=deadline)
    assert rolling.configuration() == {
        "strategy": "ROLLING",
        "minimumHealthyPercent": least,
        "maximumPercent": most,
    }
    assert rolling.total_minutes == deadline


def test_codepipelines_own_action_waits_at_most_an_hour() -> None:
    assert Rolling().ecs_action is False
    assert Rolling(ecs_action=True, deadline_minutes=60).ecs_action is True
    assert refusal(Rolling, ecs_action=True, deadline_minutes=61) == (
        "deadline_minutes must be at most 60 with ecs_action, got 61: CodePipeline's ECS action waits no longer"
    )


def test_a_deployment_that_could_neither_stop_nor_start_a_task_is_rejected() -> None:
    assert refusal(Rolling, minimum_healthy_percent=100, maximum_percent=100) == (
        "maximum_percent must be above 100 with minimum_healthy_percent=100, got 100: "
        "ECS could neither stop an old task nor start a new one"
    )


def test_a_blue_green_deployment_shifts_at_once_and_bakes() -> None:
    assert BlueGreen(bake_minutes=7).configuration() == {
        "strategy": "BLUE_GREEN",
        "bakeTimeInMinutes": 7,
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
    }


def test_a_canary_gets_a_percentage_first() -> None:
    assert Canary(percent=12.5, canary_bake_minutes=4, bake_minutes=7).configuration() == {
        "strategy": "CANARY",
        "bakeTimeInMinutes": 7,
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
        "canaryConfiguration": {"canaryPercent": 12.5, "canaryBakeTimeInMinutes": 4},
    }


def test_a_linear_deployment_shifts_in_steps() -> None:
    assert Linear(step_percent=12.5, step_bake_minutes=4, bake_minutes=7).configuration() == {
        "strategy": "LINEAR",
        "bakeTimeInMinutes": 7,
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
        "linearConfiguration": {"stepPercent": 12.5, "stepBakeTimeInMinutes": 4},
    }


def test_the_deployment_configuration_of_ecs_by_default() -> None:
    both = {"bakeTimeInMinutes": 10, "minimumHealthyPercent": 100, "maximumPercent": 200}
    canary = {"canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 10}}
    linear = {"linearConfiguration": {"stepPercent": 10, "stepBakeTimeInMinutes": 6}}
    assert Rolling().configuration() == {
        "strategy": "ROLLING",
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
    }
    assert BlueGreen().configuration() == {"strategy": "BLUE_GREEN", **both}
    assert Canary().configuration() == {"strategy": "CANARY", **both, **canary}
    assert Linear().configuration() == {"strategy": "LINEAR", **both, **linear}


def test_with_codedeploy_there_is_no_deployment_configuration_for_ecs() -> None:
    assert CodeDeployBlueGreen().configuration() == {}


@pytest.mark.parametrize(
    ("strategy", "shift", "total"),
    [
        (BlueGreen(), 0, 20),
        (BlueGreen(bake_minutes=0, deadline_minutes=3), 0, 3),
        (BlueGreen(hooks=[hook(stages=["PRE_SCALE_UP", "POST_SCALE_UP"], timeout_minutes=30), hook()]), 0, 140),
        (Canary(), 10, 30),
        (Canary(canary_bake_minutes=4, bake_minutes=1, deadline_minutes=3, hooks=[PAUSE]), 4, 9),
        # 10, 20 ... 90 percent each wait; the tenth step is the last.
        (Linear(), 54, 74),
        (Linear(step_percent=100), 0, 20),
        (Linear(step_percent=50, step_bake_minutes=7), 7, 27),
        # 33.4, 66.8 and the rest.
        (Linear(step_percent=33.4, step_bake_minutes=5), 10, 30),
        # 33.3, 66.6, 99.9 and the rest.
        (Linear(step_percent=33.3, step_bake_minutes=5), 15, 35),
        (Linear(step_percent=3, step_bake_minutes=1, bake_minutes=0, deadline_minutes=3), 33, 36),
    ],
)
def test_a_deployment_is_late_after_everything_that_it_waits_for(strategy: BlueGreen, shift: int, total: int) -> None:
    assert (strategy.shift_minutes, strategy.total_minutes) == (shift, total)


@pytest.mark.parametrize(
    ("args", "total"),
    [
        ({}, 25),
        ({"deployment_config": "CodeDeployDefault.ECSAllAtOnce"}, 20),
        ({"deployment_config": "CodeDeployDefault.ECSCanary10Percent15Minutes"}, 35),
        ({"deployment_config": "CodeDeployDefault.ECSLinear10PercentEvery1Minutes"}, 29),
        ({"deployment_config": "CodeDeployDefault.ECSLinear10PercentEvery3Minutes"}, 47),
        ({"on_ready": "STOP_DEPLOYMENT", "wait_minutes": 1, "termination_minutes": 0, "deadline_minutes": 3}, 9),
        ({"on_ready": "STOP_DEPLOYMENT", "wait_minutes": 600}, 625),
        # Just within the time that one action can wait.
        ({"termination_minutes": 645}, 660),
    ],
)
def test_a_deployment_of_codedeploy_is_late_after_all_its_timers(args: dict[str, Any], total: int) -> None:
    assert CodeDeployBlueGreen(**args).total_minutes == total


def test_by_default_a_hook_waits_an_hour_and_then_rolls_back() -> None:
    assert (hook().timeout_minutes, hook().on_timeout) == (60, "ROLLBACK")
    assert hook(timeout_minutes=1440, on_timeout="CONTINUE").on_timeout == "CONTINUE"


@pytest.mark.parametrize(
    "stage",
    [
        "RECONCILE_SERVICE",
        "PRE_SCALE_UP",
        "POST_SCALE_UP",
        "POST_TEST_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
    ],
)
def test_a_deployment_can_pause_at_stages_that_do_not_shift_traffic(stage: str) -> None:
    assert Hook(stages=[stage]).function_arn is None


@pytest.mark.parametrize("stage", ["TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"])
def test_a_deployment_cannot_pause_while_it_shifts_traffic_but_can_call_a_function(stage: str) -> None:
    assert Hook(stages=[stage], function_arn=FUNCTION).stages == [stage]
    assert refusal(Hook, stages=["PRE_SCALE_UP", stage]) == (
        "stages of a hook without function_arn, a pause, must not be "
        f"['TEST_TRAFFIC_SHIFT', 'PRODUCTION_TRAFFIC_SHIFT'], got ['{stage}']: "
        "ECS cannot pause while it shifts traffic; pause at POST_TEST_TRAFFIC_SHIFT instead"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"stages": []}, "stages must have at least 1 item, all different, got []"),
        (
            {"stages": ["PRE_SCALE_UP", "PRE_PRODUCTION_TRAFFIC_SHIFT"]},
            f"stages[1] must be one of {STAGES}, got 'PRE_PRODUCTION_TRAFFIC_SHIFT'",
        ),
    ],
)
def test_an_invalid_hook_is_rejected_with_the_rule(args: dict[str, Any], message: str) -> None:
    assert refusal(hook, **args) == message


TOGETHER = (
    "bake_minutes, deadline_minutes and the other timers must be at most 660 in total, got {}: CodePipeline ends an "
    "action after 24 hours, in which a deployment and a rollback must fit"
)


@pytest.mark.parametrize(
    ("strategy", "args"),
    [
        (BlueGreen, {"bake_minutes": 650}),
        (BlueGreen, {"bake_minutes": 0, "deadline_minutes": 180, "hooks": [hook(timeout_minutes=48)] * 10}),
        (Canary, {"percent": 0.1, "canary_bake_minutes": 640}),
        (Canary, {"percent": 100, "canary_bake_minutes": 0}),
        (Linear, {"step_percent": 3, "step_bake_minutes": 0}),
        (Linear, {"step_percent": 99.9, "step_bake_minutes": 640}),
    ],
)
def test_shifts_at_the_limits_are_accepted(strategy: Any, args: dict[str, Any]) -> None:
    made = strategy(**args)
    assert {name: getattr(made, name) for name in args} == args


@pytest.mark.parametrize(
    ("strategy", "args", "messages"),
    [
        (BlueGreen, {"bake_minutes": 651}, [TOGETHER.format(661)]),
        (
            BlueGreen,
            {"bake_minutes": 1441},
            ["bake_minutes must be between 0 and 1440, got 1441", TOGETHER.format(1451)],
        ),
        (BlueGreen, {"hooks": [hook(timeout_minutes=641)]}, [TOGETHER.format(661)]),
        (
            BlueGreen,
            {"hooks": [hook(stages=["PRE_SCALE_UP", "POST_SCALE_UP"], timeout_minutes=321)]},
            [TOGETHER.format(662)],
        ),
        (Canary, {"canary_bake_minutes": 641}, [TOGETHER.format(661)]),
        (
            Canary,
            {"canary_bake_minutes": 1441},
            ["canary_bake_minutes must be between 0 and 1440, got 1441", TOGETHER.format(1461)],
        ),
        (Linear, {"step_percent": 50, "step_bake_minutes": 641}, [TOGETHER.format(661)]),
        (
            Linear,
            {"step_percent": 100, "step_bake_minutes": 1441},
            ["step_bake_minutes must be between 0 and 1440, got 1441"],
        ),
    ],
)
def test_an_invalid_shift_is_rejected_with_the_rules(strategy: Any, args: dict[str, Any], messages: list[str]) -> None:
    assert refusal(strategy, **args).split("\n") == messages


CODEDEPLOY_TOGETHER = (
    "deadline_minutes, wait_minutes, termination_minutes and the shift must be at most 660 in total, got {}: "
    "CodePipeline ends an action after 24 hours"
)


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (
            {"wait_minutes": 1},
            ["wait_minutes must be 0 with on_ready=CONTINUE_DEPLOYMENT, got 1: CodeDeploy waits only to stop"],
        ),
        (
            {"on_ready": "STOP_DEPLOYMENT", "wait_minutes": 0},
            ["wait_minutes must be at least 1 with on_ready=STOP_DEPLOYMENT, got 0"],
        ),
        (
            {"termination_minutes": 2881},
            ["termination_minutes must be between 0 and 2880, got 2881", CODEDEPLOY_TOGETHER.format(2896)],
        ),
        ({"termination_minutes": 2880}, [CODEDEPLOY_TOGETHER.format(2895)]),
        ({"termination_minutes": 646}, [CODEDEPLOY_TOGETHER.format(661)]),
    ],
)
def test_settings_that_codedeploy_does_not_support_are_rejected_with_the_rules(
    args: dict[str, Any], messages: list[str]
) -> None:
    assert refusal(CodeDeployBlueGreen, **args).split("\n") == messages
