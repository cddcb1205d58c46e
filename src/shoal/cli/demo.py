"""`shoal demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for what the demo makes.")] = Path("demo-out"),
) -> None:
    """Train, pack, compile and evaluate a silicon potential, and write a report; about five minutes."""
    from shoal.demo import run

    run(out)
