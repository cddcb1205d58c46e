"""Where a run of Shoal spends its time: the loop's own parts, timed from outside."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shoal.engine.loop import Loop

PARTS = {"list": "_settled", "model": "evaluate", "step": "_advance"}
"""The loop's methods that renew neighbour lists, evaluate the potential (where it is not compiled), and take a step."""


@contextmanager
def timed_parts() -> Iterator[Counter[str]]:
    """Seconds in each of `PARTS` while this is open; a "step" holds its "model", which counts nowhere else."""
    seconds: Counter[str] = Counter()
    open_parts: list[str] = []
    originals = {method: getattr(Loop, method) for method in PARTS.values()}
    for part, method in PARTS.items():
        setattr(Loop, method, _timed(originals[method], part, seconds, open_parts))
    try:
        yield seconds
    finally:
        for method, original in originals.items():
            setattr(Loop, method, original)


def _timed(method: Callable[..., Any], part: str, seconds: Counter[str], open_parts: list[str]) -> Callable[..., Any]:
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
