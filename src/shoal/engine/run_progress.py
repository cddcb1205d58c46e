"""The progress bar of runs of many steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REFRESH = 0.2
"""Seconds between two looks at the bar, so that short steps do not pay for it."""


class RunProgress:
    """Systems done, atoms resident, steps per second, and the time left.

    With `n_steps`, the steps that every system takes, the bar counts those; otherwise it counts systems.
    """

    def __init__(self, bar: Any, n_systems: int | None, n_steps: int | None) -> None:
        self._bar, self._n_systems, self._n_steps = bar, n_systems, n_steps
        total = None if n_systems is None else n_systems * max(n_steps or 1, 1)
        self._task = bar.add_task("", total=total, text="")
        self._systems, self._work, self._steps = 0, 0, 0
        self._start = self._last = time.monotonic()

    def stepped(self, n_atoms: int, n_systems: int) -> None:
        """One more step of all that is resident."""
        self._steps += 1
        self._work += n_systems
        if time.monotonic() - self._last > REFRESH:
            self._show(n_atoms)

    def finished(self, n_systems: int) -> None:
        """So many more systems are done."""
        self._systems += n_systems
        self._work = self._systems * (self._n_steps or 1)
        self._show(0)

    def _show(self, n_atoms: int) -> None:
        self._last = time.monotonic()
        rate = self._steps / max(self._last - self._start, 1e-9)
        of = "" if self._n_systems is None else f"/{self._n_systems:,}"
        self._bar.update(
            self._task,
            completed=self._work if self._n_steps else self._systems,
            text=f"{self._systems:,}{of} systems done, {n_atoms:,} atoms resident, {rate:,.0f} steps/s",
        )


@contextmanager
def run_progress(n_systems: int | None, n_steps: int | None = None) -> Iterator[RunProgress]:
    """Show a run on the terminal's error stream; n_systems is None where the input cannot be counted."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        yield RunProgress(bar, n_systems, n_steps)
