"""What a run tells while it goes on, and the live line on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LINE_EVERY = 5.0


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run is.

    `batch` of `n_batches` of `epoch` of `max_epochs` are done (epochs counted from 1); `step` optimizer steps in all;
    elapsed and remaining in s; `validation` and `best`: errors on the validation data now and at the best epoch, in
    meV/atom, meV/A and meV/A^3 (`energy_rmse`, `forces_mae` ...), empty before the first validation.
    """

    epoch: int
    max_epochs: int
    batch: int
    n_batches: int
    step: int
    elapsed: float
    remaining: float
    learning_rate: float
    validation: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """Of all epochs, done."""
        return (self.epoch - 1 + self.batch / self.n_batches) / self.max_epochs


Report = Callable[[TrainingProgress], Any]


@contextmanager
def reporting(progress: bool | Report) -> Iterator[Report]:
    """What to call with each TrainingProgress: the caller's own function, a live display, or nothing."""
    if callable(progress):
        yield progress
    elif progress:
        with _live() as report:
            yield report
    else:
        yield lambda _: None


@contextmanager
def _live() -> Iterator[Report]:
    """A bar on the error stream; where that is no terminal, a line every few seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console.out)
        return
    with Progress(
        TextColumn("{task.fields[head]}"), BarColumn(20), TextColumn("{task.fields[tail]}"), console=console
    ) as bar:
        task = bar.add_task("", total=1.0, head="", tail="")
        yield lambda now: bar.update(task, completed=now.fraction, head=_head(now), tail=_tail(now))


class _Lines:
    def __init__(self, write: Callable[[str], Any]) -> None:
        self.write = write
        self.due = 0.0

    def __call__(self, now: TrainingProgress) -> None:
        if time.monotonic() >= self.due and now.batch == now.n_batches:
            self.due = time.monotonic() + LINE_EVERY
            self.write(f"{_head(now)}: {_tail(now)}")


def _head(now: TrainingProgress) -> str:
    return f"epoch {now.epoch}/{now.max_epochs}"


def _tail(now: TrainingProgress) -> str:
    parts = [
        f"{name} {_rmse(now.validation, name):.1f} (best {_rmse(now.best, name):.1f}) {unit}"
        for name, unit in SHOWN
        if f"{name}_rmse" in now.validation
    ]
    head = f"validation RMSE {', '.join(parts)}; " if parts else ""
    return f"{head}learning rate {now.learning_rate:.2g}; {clock(now.remaining)} left"


SHOWN = (("energy", "meV/atom"), ("forces", "meV/A"))


def _rmse(metrics: Mapping[str, float], name: str) -> float:
    return metrics.get(f"{name}_rmse", float("nan"))


def clock(seconds: float) -> str:
    """h:mm:ss, without hours where there are none."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
