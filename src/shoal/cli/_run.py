"""What `shoal relax` and `shoal md` share: flags, the structures, and what is said at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from shoal.cli._run_options import RunOptions
    from shoal.engine.run_results import RunResults

Structures = Annotated[
    list[str] | None, typer.Argument(metavar="[STRUCTURES]...", help="Files that ASE reads, or patterns.")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of these options; what is given here goes before it.")
]
Model = Annotated[Path | None, typer.Option("--model", help="A .shoal package or a compiled file.")]
Out = Annotated[Path | None, typer.Option("--out", help="An .xyz file for the last frames.")]
FixAtoms = Annotated[
    str | None, typer.Option("--fix-atoms", metavar="0,1,...", help="Atoms of every system that stay where they are.")
]
FixCom = Annotated[bool, typer.Option("--fix-com", help="The centre of mass of every system stays where it is.")]
Compile = Annotated[
    str | None,
    typer.Option("--compile", metavar="auto|yes|no", help="Compile the steps. Default: auto."),
]
Skin = Annotated[float | None, typer.Option("--skin", help="A: how far neighbour lists reach beyond the cutoff.")]
MaxAtoms = Annotated[int | None, typer.Option("--max-atoms", help="Atoms that run at the same time.")]
MaxMove = Annotated[
    float | None, typer.Option("--max-move", help="A: a system whose atom moves further in one step has exploded.")
]
MaxForce = Annotated[float | None, typer.Option("--max-force", help="eV/A: a system with a larger force has exploded.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")]

FAILURES_SHOWN = 10


def frames(chosen: RunOptions) -> list[Atoms]:
    """The structures to run. Raises InputError for files that cannot be read, and for `out` among them."""
    from shoal.io import expand, read

    files = expand([chosen.structures] if isinstance(chosen.structures, str) else chosen.structures)
    if any(path.resolve() == chosen.out.resolve() for path in files):
        raise InputError(f"{chosen.out} is one of the files to read; write somewhere else")
    return list(read(files))


def conclude(results: RunResults) -> None:
    """Say how it went; exit status 1 if no system ended well."""
    from shoal.cli._show import show, table, warning_line

    show(results.summary(), f"written to {results.path}")
    n_failed = results.counts.n_failed
    if n_failed:
        show(table(("id", "status", "reason"), _failures(results)))
        warning_line(f"{n_failed} of {len(results)} systems did not get to their end")
        if n_failed == len(results):
            raise typer.Exit(1)


def _failures(results: RunResults) -> list[tuple[str, str, str]]:
    """The first few, as they were written."""
    from ase.io import iread

    from shoal.status import Status

    assert results.path is not None
    rows: list[tuple[str, str, str]] = []
    for frame in iread(results.path):
        status = Status(frame.info["status"])
        if not status.is_success:
            rows.append((str(frame.info["system_id"]), str(status), str(frame.info.get("reason", ""))))
        if len(rows) == FAILURES_SHOWN:
            break
    return rows
