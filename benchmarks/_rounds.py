"""Timing several sides of a comparison alternately, so that a drifting machine hits all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one side: median, quartiles and best over the rounds."""

    median: float
    low: float
    high: float
    best: float

    def per(self, n: int, digits: int = 1) -> str:
        """Microseconds per one of n things: median (quartiles)."""
        median, low, high = (f"{1e6 / n * seconds:.{digits}f}" for seconds in (self.median, self.low, self.high))
        return f"{median} ({low}-{high})"


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int, min_seconds: float = 0.05) -> dict[str, Timing]:
    """Time every side once a round, round after round; a fast call is repeated within its turn."""
    turns = {}
    for name, call in sides.items():
        call()
        start = time.perf_counter()
        call()
        repeats = max(1, round(min_seconds / max(time.perf_counter() - start, 1e-7)))
        turns[name] = partial(_seconds_per_call, call, repeats)
    return in_turn(turns, rounds)


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Timing]:
    """Sides that tell themselves how many seconds one of theirs took, once a round each, round after round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(side())
    return {name: _summary(values) for name, values in seconds.items()}


def steps_within(seconds: float, run: Callable[[int], float], most: int = 100_000) -> int:
    """How many steps fill so many seconds, at least one; `run` takes so many steps and tells how long they took."""
    n_steps, took = 1, run(1)
    while took < seconds / 8 and n_steps < most:
        n_steps = min(most, n_steps * min(8, 1 + int(seconds / 4 / max(took, 1e-6))))
        took = run(n_steps)
    return max(1, min(most, round(n_steps * seconds / took)))


def _seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _summary(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values if len(values) > 1 else values * 2, n=4)
    return Timing(median, low, high, min(values))


def machine() -> str:
    """Processor, cores in use by this process and load, in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"
