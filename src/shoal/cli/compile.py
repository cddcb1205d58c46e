"""`shoal compile`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli._kernel_options import ExactOption, TableErrorOption


def compile_(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .ckpt or a .shoal file.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="File to write; its name ends in .shoal.pt2, for torchscript in .shoal.pth."
        ),
    ],
    mode: Annotated[
        str, typer.Option(help="aotinductor: native code; torchscript: for any processor, slower.")
    ] = "aotinductor",
    target: Annotated[str, typer.Option(help="What it serves: batch, any number of systems.")] = "batch",
    device: Annotated[str, typer.Option(help="What it runs on: cpu or cuda.")] = "cpu",
    kernel: Annotated[
        str,
        typer.Option(
            help="The convolution: native (a C++ kernel of the whole model, CPU), inductor or reference (operators of "
            "torch); auto: native where it can be had."
        ),
    ] = "auto",
    exact: ExactOption = None,
    table_error: TableErrorOption = 1e-5,
) -> None:
    """Compile a model into one file that evaluates any number of structures, and verify it against the model."""
    from shoal.cli._show import show
    from shoal.deploy import compile_model
    from shoal.files.compiled import radial_table_in_words

    start = time.perf_counter()
    show(f"compiling {model} for {device} ...")
    metadata = compile_model(
        model, out, mode=mode, target=target, device=device, kernel=kernel, exact=exact, table_error=table_error
    )
    show(f"{out}  written in {time.perf_counter() - start:.0f} s, kernel {metadata.kernel}")
    if metadata.custom_ops:
        show("built for " + ", ".join(entry["target"] for entry in metadata.custom_ops))
    if metadata.radial_table:
        show(f"radial tables of {radial_table_in_words(metadata.radial_table)}")
    show("largest differences to the eager model (eV/atom, eV/A, eV/A^3; _float64: to it in double precision):")
    show("  " + ", ".join(f"{name} {value:.1e}" for name, value in metadata.verified.items()))
