"""`shoal export`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli._kernel_options import ExactOption, TableErrorOption
from shoal.cli._show import MapOption


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .ckpt or a .shoal file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its name ends in .pt.")],
    portable: Annotated[
        bool, typer.Option("--portable", help="The same as --kernel portable, which is the default.")
    ] = False,
    kernel: Annotated[
        str | None,
        typer.Option(
            help="portable: operators of torch, for any processor or GPU; native: a C++ kernel of the whole model, for "
            "CPUs of this type."
        ),
    ] = None,
    extensions: Annotated[
        Path | None,
        typer.Option(help="Native kernels: folder for the library that engines need. Default: extensions beside OUT."),
    ] = None,
    exact: ExactOption = None,
    table_error: TableErrorOption = 1e-5,
    map: MapOption = None,
    name: Annotated[str, typer.Option(help="Name of the model. Default: that of the file.")] = "",
    author: Annotated[list[str] | None, typer.Option(help="Who made the model; repeat it for several.")] = None,
    description: Annotated[str, typer.Option(help="A sentence or more on what the model is for.")] = "",
) -> None:
    """Export a model to engines of metatomic (ASE, LAMMPS, i-PI ...), and verify it there against the model."""
    from shoal.cli._show import show, species_map
    from shoal.errors import InputError
    from shoal.files.compiled import radial_table_in_words
    from shoal.integrations.metatomic import export_model

    if portable and kernel not in (None, "portable"):
        raise InputError(f"--portable and --kernel {kernel} exclude each other")
    start = time.perf_counter()
    written = export_model(
        model,
        out,
        kernel=kernel or "portable",
        extensions=extensions,
        exact=exact,
        table_error=table_error,
        chemical_species_to_atom_type_map=species_map(map),
        name=name,
        authors=author or (),
        description=description,
    )
    show(f"{out}  written in {time.perf_counter() - start:.0f} s")
    if written.extensions is not None:
        show(f"engines need the library in {written.extensions}: extensions_directory in Python")
    if written.table is not None:
        show(f"radial tables of {radial_table_in_words(written.table.described())}")
    show("largest differences to the eager model (eV/atom, eV/A, eV/A^3; _float64: to it in double precision):")
    show("  " + ", ".join(f"{key} {value:.1e}" for key, value in written.differences.items()))
