import pytest
from slipway import Rolling


def test_by_default_no_capacity_is_lost_during_a_deployment() -> None:
    rolling = Rolling()
    assert (rolling.minimum_healthy_percent, rolling.maximum_percent, rolling.deadline_minutes) == (100, 200, 10)


@pytest.mark.parametrize(
    ("least", "most", "deadline"), [(0, 100, 3), (99, 100, 10), (100, 101, 10), (100, 200, 180), (0, 200, 10)]
)
def test_what_lets_ecs_replace_tasks_is_accepted(least: int, most: int, deadline: int) -> None:
    Rolling(minimum_healthy_percent=least, maximum_percent=most, deadline_minutes=deadline)


def test_each_broken_rule_is_told_with_what_was_got() -> None:
    with pytest.raises(ValueError) as error:
        Rolling(minimum_healthy_percent=101, maximum_percent=99, deadline_minutes=181)
    assert str(error.value).split("\n") == [
        "minimum_healthy_percent must be between 0 and 100, got 101",
        "maximum_percent must be between 100 and 200, got 99",
        "deadline_minutes must be between 3 and 180, got 181",
    ]


def test_a_deployment_that_could_neither_stop_nor_start_a_task_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        Rolling(minimum_healthy_percent=100, maximum_percent=100)
    assert str(error.value) == (
        "maximum_percent must be above 100 with minimum_healthy_percent=100, got 100: "
        "ECS could neither stop an old task nor start a new one"
    )
