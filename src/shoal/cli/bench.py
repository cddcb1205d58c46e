"""`shoal bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli._show import DeviceOption, MapOption
from shoal.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from shoal.throughput import Series, Throughput


def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A package, a compiled file, or module:factory of a Potential.")
    ],
    structures: Annotated[
        list[str] | None,
        typer.Option("--structures", metavar="FILE", help="Structures to take instead of crystals; repeatable."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Of torch. Default: as they are.")] = None,
    atoms: Annotated[
        str, typer.Option("--atoms", metavar="8,64,...", help="Atoms of the crystals that are built, at least.")
    ] = "8,64",
    max_atoms: Annotated[int, typer.Option("--max-atoms", help="Atoms of the largest batch.")] = 4096,
    steps: Annotated[int, typer.Option("--steps", help="Of dynamics and relaxation, in each round.")] = 50,
    rounds: Annotated[int, typer.Option("--rounds", help="How often everything takes its turn, at most.")] = 5,
    compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile steps, as long runs do; it takes a minute once.")
    ] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Write every number to this file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it: a PNG file.")] = None,
    map: MapOption = None,
    device: DeviceOption = None,
) -> None:
    """Time a model on this machine: batches of growing size, the memory they need, the shares of a step."""
    from shoal.cli._show import as_json, check_writable, key_values, show, species_map
    from shoal.io import read
    from shoal.throughput import bench as run

    for option, path in (("--json", json), ("--plot", plot)):
        if path is not None:
            check_writable(option, path)
    with _progress() as tell:
        found = run(
            model,
            list(read(structures)) if structures else (),
            threads=threads,
            atoms=_numbers(atoms),
            max_atoms=max_atoms,
            n_steps=steps,
            rounds=rounds,
            compile=compile,
            device=device,
            chemical_species_to_atom_type_map=species_map(map),
            progress=tell,
        )
    show(key_values({**found.model, **found.machine, "versions": found.versions}))
    show(*_tables(found), *found.summary())
    if json is not None:
        json.write_text(as_json(found.to_dict()) + "\n")
    if plot is not None:
        _plot(found, plot)


def _numbers(text: str) -> list[int]:
    """Raises InputError."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--atoms takes whole numbers, such as 8,64; got {text!r}") from None


def _tables(found: Throughput) -> list[Table]:
    """One for each kind of structures, and one of steps."""
    return [*(_batches(series) for series in found.series), _steps(found)]


def _batches(series: Series) -> Table:
    from shoal.cli._show import table

    rows = []
    for batch in series.batches:
        memory = "" if batch.memory is None else f"{batch.memory / 1e6:.1f}"
        parts = [f"{1e6 * timing.median / batch.n_atoms:.1f}" for timing in (batch.list, batch.model)]
        best = "best" if batch == series.best else ""
        times = batch.total.per(batch.n_atoms), *parts
        rows.append((str(batch.n_systems), str(batch.n_atoms), *times, f"{batch.atoms_per_second:,.0f}", memory, best))
    heads = ("systems", "atoms", "us/atom", "list", "model", "atoms/s", "MB", "")
    return table(heads, rows, title=f"{series.name}: median (quartiles)")


def _steps(found: Throughput) -> Table:
    from shoal.cli._show import table

    best = found.series[-1].best
    rows = []
    for step in found.steps:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in step.shares.items())
        renewals = "new each time" if step.renewals is None else f"{step.renewals} in {step.n_steps} steps"
        rows.append((step.name, step.total.per(1), parts, renewals))
    title = f"shares of a step at {best.n_systems} systems, {best.n_atoms} atoms"
    return table(("", "us/atom", "shares", "neighbour lists"), rows, title=title)


def _plot(found: Throughput, path: Path) -> None:
    from shoal.errors import MissingDependencyError
    from shoal.figures import save, throughput

    curves = {}
    for series in found.series:
        timings = [batch.total.over(batch.n_atoms) for batch in series.batches]
        curves[series.name] = (
            [batch.n_atoms for batch in series.batches],
            [(1e6 * timing.median, 1e6 * timing.low, 1e6 * timing.high) for timing in timings],
            series.batches.index(series.best),
        )
    steps = {step.name: {part: 1e6 * seconds for part, seconds in step.parts.items()} for step in found.steps}
    try:
        save(throughput(curves, steps), path)
    except ImportError as error:
        raise MissingDependencyError("the plot needs matplotlib: pip install 'shoal[report]'") from error


@contextmanager
def _progress() -> Iterator[Callable[[float, str], object]]:
    """How much is done and what is being timed, on the error stream of a terminal; it leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, line: bar.update(task, completed=share, description=line)
