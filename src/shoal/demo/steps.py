"""The list of steps on the terminal: what runs now, how long each took, and what came out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

LINE_EVERY = 10.0


@dataclass
class Step:
    """A step that runs: `tell` what it is doing, and set `result` to what came out of it."""

    title: str
    bar: Progress
    task: TaskID
    plain: Console | None
    result: str = ""
    seconds: float = 0.0
    due: float = 0.0

    def tell(self, text: str, fraction: float | None = None) -> None:
        """Say what is going on, with the share that is done if it is known; off a terminal every ten seconds."""
        total, completed = (None, None) if fraction is None else (1.0, fraction)
        self.bar.update(self.task, now=text, total=total, completed=completed)
        if self.plain is not None and time.monotonic() >= self.due:
            self.due = time.monotonic() + LINE_EVERY
            self.plain.print(Text(f"      {text}"), soft_wrap=True)


class Steps:
    """Runs steps by name; `done` are those that have ended."""

    def __init__(self, n_steps: int, console: Console) -> None:
        self.n_steps, self.console = n_steps, console
        self.done: list[Step] = []

    @contextmanager
    def __call__(self, title: str, now: str) -> Iterator[Step]:
        """One step; `now` says what it starts with."""
        head = f"[{len(self.done) + 1}/{self.n_steps}] {title}"
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(16),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        plain = None if self.console.is_terminal else self.console
        if plain is not None:
            plain.print(Text(f"{head}: {now} ..."), soft_wrap=True)
        start = time.perf_counter()
        with bar:
            step = Step(title, bar, bar.add_task(head, total=None, now=now), plain, due=time.monotonic() + LINE_EVERY)
            yield step
        step.seconds = time.perf_counter() - start
        self.done.append(step)
        line = Text.assemble((f"{head:<28}", "bold"), (f"{step.seconds:7.1f} s", "cyan"), f"   {step.result}")
        self.console.print(line, soft_wrap=True)
