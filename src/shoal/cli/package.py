"""`shoal package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def package(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="Checkpoint written by shoal train.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Package to write; its name ends in .shoal.")],
    averaged: Annotated[
        bool,
        typer.Option(help="Take the moving average of the weights, as validation does, or those of the last step."),
    ] = True,
) -> None:
    """Pack the model of a checkpoint into one .shoal file, which holds data only and verifies itself."""
    from shoal.cli._show import show
    from shoal.deploy import package as write_package
    from shoal.files import file_sha256

    path = write_package(checkpoint, out, averaged=averaged)
    show(f"{path}  sha256 {file_sha256(path)}")
