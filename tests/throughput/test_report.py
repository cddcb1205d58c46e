"""The arithmetic on what was measured, on numbers whose answers are known."""

from __future__ import annotations

import json

import pytest

from shoal.throughput import Batch, Series, Step, Throughput, best_batch
from shoal.throughput.parts import PARTS
from shoal.throughput.steps import split
from shoal.throughput.timing import Timing, rounds_within, threads


def batch(n_atoms: int, seconds: float, memory: int | None = None) -> Batch:
    return Batch(n_atoms // 8, n_atoms, ((0.25 * seconds, 0.75 * seconds),) * 3, memory)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ((10.0, 50.0, 96.0, 100.0), 32),  # within 5 % of the most
        ((10.0, 50.0, 94.0, 100.0), 64),  # not within
        ((10.0, 100.0, 60.0, 99.0), 16),  # the fastest is not the largest
        ((100.0, 100.0, 100.0, 100.0), 8),
    ],
)
def test_the_best_batch_is_the_smallest_near_the_best_throughput(rates: tuple[float, ...], best: int) -> None:
    sizes = (8, 16, 32, 64)
    found = best_batch([batch(n, n / rate) for n, rate in zip(sizes, rates, strict=True)])
    assert found.n_atoms == best


def test_rates_and_memory_are_those_of_the_atoms() -> None:
    series = Series("crystals", (batch(8, 0.004, 100), batch(64, 0.016, 6400)))
    small, large = series.batches
    assert small.atoms_per_second == pytest.approx(2000)
    assert large.microseconds_per_atom == pytest.approx(250)
    assert (large.list.median, large.model.median) == (pytest.approx(0.004), pytest.approx(0.012))
    assert series.memory_per_atom == 100
    assert Series("crystals", (batch(8, 0.004),)).memory_per_atom is None


def test_shares_sum_to_one_and_parts_to_the_median() -> None:
    rounds = [{"list": k, "model": 6 * k, "integrator": 1.0} for k in (1.0, 3.0, 2.0, 4.0)]
    step = Step.of("NVE", rounds)
    assert step.total.median == pytest.approx(18.5)  # of 8, 15, 22, 29
    assert sum(step.parts.values()) == pytest.approx(step.total.median)
    assert sum(step.shares.values()) == pytest.approx(1)
    assert step.shares["list"] == pytest.approx(2 / 15)


@pytest.mark.parametrize("whole_model", [False, True])
def test_parts_of_a_step_are_those_of_its_clocks(whole_model: bool) -> None:
    seconds = dict.fromkeys(PARTS, 0.0) | {"list": 1.0, "model": 4.0, "step": 6.0, "whole": 8.0}
    parts = split(seconds, 100, whole_model=whole_model)
    assert sum(parts.values()) == pytest.approx(0.08)
    assert parts["list"] == pytest.approx(0.01)
    assert parts.get("integrator", 0.03) == pytest.approx(0.03)
    assert ("model" in parts) is not whole_model


def test_a_timing_is_the_median_and_quartiles_within_what_was_seen() -> None:
    timing = Timing.of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.median, timing.best) == (3.0, 1.0)
    assert 1.0 <= timing.low <= 2.0 < 4.0 <= timing.high <= 5.0
    assert Timing.of([2.0]) == Timing(2.0, 2.0, 2.0, 2.0)
    assert timing.over(2).median == 1.5
    assert Timing(2e-6, 1e-6, 3e-6, 1e-6).per(2) == "1.0 (0.5-1.5)"


def test_all_of_it_is_json() -> None:
    timing = Timing(1e-6, 1e-6, 1e-6, 1e-6)
    series = Series("crystals", (batch(8, 0.004, 800), batch(16, 0.004, 1600)))
    step = Step.of("NVE", [{"list": 1.0, "model": 3.0}], renewals=2, n_steps=5)
    found = Throughput({"model": "m"}, {}, {"shoal": "0"}, 1, 3, (series,), (step,), timing)
    read = json.loads(json.dumps(found.to_dict()))
    (row,), (of_step,) = read["series"], read["steps"]
    assert (row["best_batch"], row["bytes_per_atom"]) == (16, 100)
    assert row["batches"][0]["total"]["median"] == pytest.approx(0.004)
    assert of_step["shares"] == {"list": 0.25, "model": 0.75}
    assert "best batch 2 systems, 16 atoms: 250.00 us/atom, 4,000 atoms/s" in found.summary()[0]


def test_rounds_end_with_their_number_or_their_time() -> None:
    assert list(rounds_within(3, 60.0)) == [1, 2, 3]
    assert list(rounds_within(3, -1.0)) == [1]


def test_threads_are_given_back(two_threads: None) -> None:
    with threads(1) as n:
        assert n == 1
    with threads(None) as n:
        assert n == 2
