"""Where a run of Shoal spends its time: the parts of the engine's loop, timed from outside."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shoal.engine.loop import Loop

Seconds = defaultdict[str, float]
PARTS = {"list": "_settled", "model": "evaluate", "step": "_advance", "whole": "step"}
"""The loop's methods that renew neighbour lists, evaluate the potential (where it is not compiled), take a step once,
and do all of that until the step stands."""


@contextmanager
def timed_parts() -> Iterator[Seconds]:
    """Seconds in each of `PARTS` while this is open; a "step" holds its "model", which counts nowhere else.

    One at a time in a process: the clocks are put around the methods of the class, and taken away in the end.
    """
    seconds: Seconds = defaultdict(float)
    open_parts: list[str] = []
    originals = {method: getattr(Loop, method) for method in PARTS.values()}
    for part, method in PARTS.items():
        setattr(Loop, method, _timed(originals[method], part, seconds, open_parts))
    try:
        yield seconds
    finally:
        for method, original in originals.items():
            setattr(Loop, method, original)


def _timed(method: Callable[..., Any], part: str, seconds: Seconds, open_parts: list[str]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        counts = part != "model" or "step" in open_parts
        open_parts.append(part)
        start = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            open_parts.pop()
            if counts:
                seconds[part] += time.perf_counter() - start

    return timed
