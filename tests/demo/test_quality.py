"""The gate lets a figure pass up to its limit and nothing else."""

from __future__ import annotations

import pytest

from shoal.demo.quality import Check


@pytest.mark.parametrize("value", [0.0, 0.01, -0.01, 0.0099])
def test_a_figure_within_its_limit_passes(value: float) -> None:
    assert Check("volume", value, 0.01, "%").passed


@pytest.mark.parametrize("value", [0.0101, -0.0101, float("nan"), float("inf"), float("-inf")])
def test_a_figure_beyond_it_or_none_at_all_fails(value: float) -> None:
    assert not Check("volume", value, 0.01, "%").passed


def test_figures_are_shown_with_their_unit() -> None:
    assert Check("volume", -0.0123, 0.01, "%").shown == "-1.23 %"
    assert Check("volume", -0.0123, 0.01, "%").limit_shown == "1.00 %"
    assert Check("force", 0.1234, 0.15, "eV/A").shown == "0.123 eV/A"
