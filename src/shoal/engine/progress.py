"""The progress bar of verbs that run over many systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from shoal.engine.outcome import SystemResult


@contextmanager
def progress_bar(total: int | None = None) -> Iterator[Callable[[Sequence[SystemResult]], None]]:
    """Show structures/s and atoms/s on the terminal's error stream, and the time left where `total` is known.

    Yields what to call with each finished batch.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    time_left = (TextColumn("left"), TimeRemainingColumn()) if total is not None else ()
    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        *time_left,
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("", total=total, rates="")
        n_atoms = 0

        def advance(results: Sequence[SystemResult]) -> None:
            nonlocal n_atoms
            n_atoms += sum(result.n_atoms for result in results)
            bar.advance(task, len(results))
            seconds = bar.tasks[0].elapsed or float("inf")
            done = bar.tasks[0].completed
            bar.update(task, rates=f"{done / seconds:,.0f} structures/s, {n_atoms / seconds:,.0f} atoms/s")

        yield advance
