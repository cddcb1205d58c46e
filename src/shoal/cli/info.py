"""`shoal info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A package, compiled file or checkpoint.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a model file is and what is in it, without running any of it."""
    from shoal.cli._show import as_json, key_values, show
    from shoal.files import describe

    content = describe(file)
    show(as_json(content) if json else key_values(content))
