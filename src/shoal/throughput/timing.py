"""Timing several sides of a comparison alternately, so that a drifting machine hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one side: median, quartiles and best over the rounds."""

    median: float
    low: float
    high: float
    best: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Of the seconds that each round took."""
        low, median, high = statistics.quantiles(seconds if len(seconds) > 1 else [*seconds] * 2, n=4)
        return cls(median, max(low, min(seconds)), min(high, max(seconds)), min(seconds))

    def over(self, n: int) -> Timing:
        """Per one of n things."""
        return Timing(self.median / n, self.low / n, self.high / n, self.best / n)

    def per(self, n: int, digits: int = 1) -> str:
        """Microseconds per one of n things: median (quartiles)."""
        median, low, high = (f"{1e6 / n * seconds:.{digits}f}" for seconds in (self.median, self.low, self.high))
        return f"{median} ({low}-{high})"


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int, min_seconds: float = 0.05) -> dict[str, Timing]:
    """Time every side once a round, round after round; a fast call is repeated within its turn."""
    turns = {}
    for name, call in sides.items():
        call()
        turns[name] = partial(_seconds_per_call, call, repeats(call, min_seconds))
    return in_turn(turns, rounds)


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Timing]:
    """Sides that tell themselves how many seconds one of theirs took, once a round each, round after round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(side())
    return {name: Timing.of(values) for name, values in seconds.items()}


def repeats(call: Callable[[], object], min_seconds: float) -> int:
    """How many calls fill so many seconds, at least one; by so many that their time is a quarter of it."""
    n = 1
    while (took := n * _seconds_per_call(call, n)) < min_seconds / 4:
        n *= 4
    return max(1, round(n * min_seconds / took))


def rounds_within(rounds: int, seconds: float) -> Iterator[int]:
    """Numbers of rounds from 1 on: at most `rounds`, and after the first none that begins later than `seconds`."""
    start = time.perf_counter()
    for number in range(1, rounds + 1):
        if number > 1 and time.perf_counter() - start > seconds:
            return
        yield number


@contextmanager
def threads(n: int | None) -> Iterator[int]:
    """So many threads of torch while this is open, as they are for None; tells how many."""
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _seconds_per_call(call: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n
