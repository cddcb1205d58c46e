"""Timing several sides of a comparison alternately: what the package has for it, and what only benchmarks need."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from shoal.throughput.timing import Timing as Timing
from shoal.throughput.timing import alternate as alternate
from shoal.throughput.timing import in_turn as in_turn


def steps_within(seconds: float, run: Callable[[int], float], most: int = 100_000) -> int:
    """How many steps fill so many seconds, at least one; `run` takes so many steps and tells how long they took."""
    n_steps, took = 1, run(1)
    while took < seconds / 8 and n_steps < most:
        n_steps = min(most, n_steps * min(8, 1 + int(seconds / 4 / max(took, 1e-6))))
        took = run(n_steps)
    return max(1, min(most, round(n_steps * seconds / took)))


def machine() -> str:
    """Processor, cores in use by this process and load, in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"
