"""`shoal export`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli._show import MapOption


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .ckpt or a .shoal file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its name ends in .pt.")],
    portable: Annotated[
        bool, typer.Option("--portable", help="Operators of torch, for any processor or GPU; the default.")
    ] = False,
    map: MapOption = None,
    name: Annotated[str, typer.Option(help="Name of the model. Default: that of the file.")] = "",
    author: Annotated[list[str] | None, typer.Option(help="Who made the model; repeat it for several.")] = None,
    description: Annotated[str, typer.Option(help="A sentence or more on what the model is for.")] = "",
) -> None:
    """Export a model to engines of metatomic (ASE, LAMMPS, i-PI ...), and verify it there against the model."""
    from shoal.cli._show import show, species_map
    from shoal.integrations.metatomic import export_model

    start = time.perf_counter()
    written = export_model(
        model,
        out,
        chemical_species_to_atom_type_map=species_map(map),
        name=name,
        authors=author or (),
        description=description,
    )
    show(f"{out}  written in {time.perf_counter() - start:.0f} s")
    show("largest differences to the eager model (eV/atom, eV/A, eV/A^3; _float64: to it in double precision):")
    show("  " + ", ".join(f"{key} {value:.1e}" for key, value in written.differences.items()))
