"""What native kernels take of radial networks: options of the verbs that write files with one."""

from __future__ import annotations

from typing import Annotated

import typer

ExactOption = Annotated[
    bool | None,
    typer.Option(
        "--exact/--tables",
        help="Native kernels: the radial networks themselves, or tables of them. Default: tables in float32. "
        "Models trained with tables keep those.",
    ),
]
TableErrorOption = Annotated[
    float,
    typer.Option(
        "--table-error",
        help="Native kernels: largest error of tables in a force, eV/A (a share of forces above 1 eV/A).",
    ),
]
