"""`shoal evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli._show import DeviceOption, MapOption

if TYPE_CHECKING:
    from shoal.engine import SystemResult

FAILURES_SHOWN = 10


def evaluate(
    structures: Annotated[
        list[str], typer.Argument(metavar="STRUCTURES...", help="Files that ASE reads, or patterns.")
    ],
    model: Annotated[Path, typer.Option("--model", help="A .shoal package or a compiled file.")],
    out: Annotated[Path, typer.Option("--out", help="An .xyz file, or (any other name) a results folder.")],
    map: MapOption = None,
    device: DeviceOption = None,
    max_atoms: Annotated[int, typer.Option("--max-atoms", help="Atoms per batch.")] = 1024,
    outputs: Annotated[str, typer.Option("--outputs", help="What to compute.")] = "energy,forces,stress",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Take up a results folder where it stopped.")] = False,
) -> None:
    """Evaluate structures in batches; results are written as they come, a bad structure stops no other."""
    from shoal.cli._show import show, species_map, table, warning_line
    from shoal.engine import evaluate as run
    from shoal.errors import InputError
    from shoal.io import count_frames, expand

    files = expand(structures)
    if any(path.resolve() == out.resolve() for path in files):
        raise InputError(f"{out} is one of the files to read; write somewhere else")
    failures: list[SystemResult] = []

    def keep_failures(batch: Sequence[SystemResult]) -> None:
        failures.extend(result for result in batch if not result.status.is_success)
        del failures[FAILURES_SHOWN:]

    results = run(
        files,
        model,
        outputs=[name.strip() for name in outputs.split(",")],
        max_atoms=max_atoms,
        errors="status",
        device=device,
        chemical_species_to_atom_type_map=species_map(map),
        out=out,
        overwrite=overwrite,
        resume=resume,
        progress=True,
        n_structures=count_frames(files),
        on_batch=keep_failures,
    )
    show(results.summary(), f"written to {out}")
    if failures:
        rows = [(str(r.system_id), r.status, r.reason) for r in failures]
        show(table(("id", "status", "reason"), rows))
        warning_line(f"{results.counts.n_failed} of {len(results)} systems failed")
        if results.counts.n_failed == len(results):
            raise typer.Exit(1)
