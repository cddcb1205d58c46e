"""`shoal compile`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


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
) -> None:
    """Compile a model into one file that evaluates any number of structures, and verify it against the model."""
    from shoal.cli._show import show
    from shoal.deploy import compile_model

    start = time.perf_counter()
    show(f"compiling {model} for {device}; native code takes about a minute ...")
    metadata = compile_model(model, out, mode=mode, target=target, device=device)
    show(f"{out}  written in {time.perf_counter() - start:.0f} s")
    show("largest differences to the eager model (eV/atom, eV/A, eV/A^3; _float64: to it in double precision):")
    show("  " + ", ".join(f"{name} {value:.1e}" for name, value in metadata.verified.items()))
