"""What `shoal relax` and `shoal md` share: flags, the structures, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from shoal.cli._show import DeviceOption, MapOption
from shoal.errors import InputError

if TYPE_CHECKING:
    from shoal.cli._run_options import RunOptions
    from shoal.engine.run_results import RunResults


class FileFlags:
    """What to run, and where its results go."""

    structures: Annotated[
        list[str] | None, typer.Argument(metavar="[STRUCTURES]...", help="Files that ASE reads, or patterns.")
    ]
    model: Annotated[Path | None, typer.Option("--model", help="A .shoal package or a compiled file.")]
    out: Annotated[Path | None, typer.Option("--out", help="An .xyz file for the last frames.")]
    config: Annotated[
        Path | None, typer.Option("--config", help="A YAML file of these options; what is given here goes before it.")
    ]


class RunFlags:
    """How it runs."""

    fix_atoms: Annotated[
        str | None,
        typer.Option("--fix-atoms", metavar="0,1,...", help="Atoms of every system that stay where they are."),
    ]
    fix_com: Annotated[
        bool | None, typer.Option("--fix-com", help="The centre of mass of every system stays where it is.")
    ]
    map: MapOption
    device: DeviceOption
    compile: Annotated[
        str | None, typer.Option("--compile", metavar="auto|yes|no", help="Compile the steps. Default: auto.")
    ]
    skin: Annotated[float | None, typer.Option("--skin", help="A: how far neighbour lists reach beyond the cutoff.")]
    max_atoms: Annotated[int | None, typer.Option("--max-atoms", help="Atoms that run at the same time.")]
    max_move: Annotated[
        float | None, typer.Option("--max-move", help="A: a system whose atom moves further in one step has exploded.")
    ]
    max_force: Annotated[
        float | None, typer.Option("--max-force", help="eV/A: a system with a larger force has exploded.")
    ]
    system_ids: Annotated[
        str | None,
        typer.Option(
            "--system-ids",
            metavar="0,1,...",
            help="A number for each structure, which results and random numbers go by. Default: its place.",
        ),
    ]
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="Replace earlier results.")]
    progress: Annotated[bool | None, typer.Option("--progress/--no-progress", help="Show a bar as it runs.")]


Verb = Callable[..., None]


def takes(*groups: type) -> Callable[[Verb], Verb]:
    """Make a verb that takes `**given` a command with these flags; those that are not given are None."""

    def with_flags(verb: Verb) -> Verb:
        hints = {name: hint for group in groups for name, hint in get_type_hints(group, include_extras=True).items()}
        parameters = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=hint) for name, hint in hints.items()
        ]
        verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return verb

    return with_flags


FAILURES_SHOWN = 10


def inputs(chosen: RunOptions) -> dict[str, Any]:
    """The files to run, read as they are needed, and how many structures they hold where that is quick to say.

    Raises InputError for files that do not exist, and for `out` among them.
    """
    from shoal.io import count_frames, expand

    files = expand([chosen.structures] if isinstance(chosen.structures, str) else chosen.structures)
    if any(path.resolve() == chosen.out.resolve() for path in files):
        raise InputError(f"{chosen.out} is one of the files to read; write somewhere else")
    return {"structures": files, "n_structures": count_frames(files)}


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
