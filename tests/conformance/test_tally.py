"""Verdicts follow from what was measured: one item beyond its tolerance is enough, and NaN is beyond all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shoal.conformance import Finding, Report, Verdict
from shoal.conformance.tally import Tally


def verdict(*items: tuple, ours: bool = True, strict: bool = False) -> Verdict:
    tally = Tally(ours, strict)
    for value, tolerance, *more in items:
        tally.add("it", value, tolerance, **(more[0] if more else {}))
    return tally.verdict()[0]


def test_one_failure_among_many_is_a_failure() -> None:
    assert verdict((0.1, 1.0), (2.0, 1.0), (0.3, 1.0)) is Verdict.FAIL
    assert verdict((0.1, 1.0), (1.0, 1.0)) is Verdict.PASS
    assert verdict() is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_what_is_not_finite_is_beyond_every_tolerance(value: float, tolerance: float) -> None:
    assert verdict((value, tolerance)) is Verdict.FAIL


def test_zero_tolerance_allows_zero() -> None:
    assert verdict((0.0, 0.0)) is Verdict.PASS
    assert verdict((1e-300, 0.0)) is Verdict.FAIL


def test_a_declared_failure_hides_no_other() -> None:
    excuse = {"declared": "truncation: none"}
    assert verdict((2.0, 1.0, excuse)) is Verdict.DECLARED
    assert verdict((0.5, 1.0, excuse)) is Verdict.PASS
    assert verdict((9.0, 1.0, excuse), (2.0, 1.0)) is Verdict.FAIL


def test_rules_of_shoal_bind_its_own_models_and_with_strict_all() -> None:
    broken = (2.0, 1.0, {"rule": "S1"})
    assert verdict(broken) is Verdict.FAIL
    assert verdict(broken, ours=False) is Verdict.NOTE
    assert verdict(broken, ours=False, strict=True) is Verdict.FAIL
    assert verdict((2.0, 1.0, {"rule": "R1"}), ours=False) is Verdict.FAIL


@pytest.mark.parametrize(
    ("actual", "expected", "value"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5 / 2.5),
        ([0.1, 0.2], [0.1, 0.3], 0.1),  # scales below one count as one
        ([[1.0]], [[np.nan]], np.inf),
        ([np.nan], [1.0], np.inf),
    ],
)
def test_differences_are_measured_in_the_largest_value(actual: list, expected: list, value: float) -> None:
    tally = Tally()
    tally.compare("it", actual, expected, 1.0)
    measured = tally.items[0].value
    assert measured == pytest.approx(value) or (np.isnan(measured) and np.isinf(value))
    assert tally.verdict()[0] is (Verdict.FAIL if value > 1 else Verdict.PASS)


def test_another_shape_is_a_failure_and_nothing_to_compare_is_nothing() -> None:
    tally = Tally()
    tally.compare("it", np.zeros((0, 3)), np.zeros((0, 3)), 1.0)
    assert tally.items == []
    tally.compare("it", np.zeros((2, 3)), np.zeros((3, 3)), 1.0)
    assert tally.verdict()[0] is Verdict.FAIL


def test_a_report_is_plain_json_even_if_a_value_is_infinite() -> None:
    finding = Finding(3, "finite", "law", "meaning", Verdict.FAIL, value=float("inf"), tolerance=0.0)
    report = Report("m", (finding,))
    assert not report
    row = json.loads(json.dumps(report.to_dict(), allow_nan=False))["findings"][0]
    assert (row["verdict"], row["value"]) == ("fail", "inf")
