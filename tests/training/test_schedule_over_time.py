"""A learning rate that follows the clock has come down when the time is up, however many epochs there were."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any

import pytest

from shoal.errors import ConfigError
from shoal.training import load_config, train

OVER_TIME = {"name": "cosine", "over": "time", "min_learning_rate": 1e-4}


def test_it_is_half_a_cosine_of_the_time_that_has_passed(tiny_config: Callable[..., Any]) -> None:
    seconds = 3.0
    result = train(tiny_config(max_epochs=10_000, max_time=seconds, learning_rate=0.01, schedule=OVER_TIME))
    assert result.stopped_by == "max_time"
    assert len(result.history) > 2
    for before, row in zip(result.history, result.history[1:], strict=False):
        passed = before["seconds"] / seconds
        assert row["learning_rate"] == pytest.approx(1e-4 + 0.0099 * (1 + cos(pi * passed)) / 2, rel=1e-9)


@pytest.mark.parametrize(
    "change", [{"schedule": OVER_TIME}, {"schedule": {"name": "plateau", "over": "time"}, "max_time": 10}]
)
def test_it_needs_a_cosine_and_a_time(tiny_config: Callable[..., Any], change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="over=time needs"):
        load_config(tiny_config(**change))


def test_resumed_with_another_time_it_would_be_another_run(tiny_config: Callable[..., Any]) -> None:
    first = train(tiny_config(max_epochs=2, max_time=60, schedule=OVER_TIME))
    again = tiny_config(max_epochs=3, max_time=90, schedule=OVER_TIME)
    with pytest.raises(ConfigError, match=r"training\.max_time is 90"):
        train(again, resume=first.last)
    longer = train(tiny_config(max_epochs=3, max_time=60, schedule=OVER_TIME), resume=first.last)
    assert [row["epoch"] for row in longer.history] == [1, 2, 3]
