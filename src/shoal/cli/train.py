"""`shoal train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training configuration, YAML.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace those of the file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
) -> None:
    """Train a potential; checkpoints, logs and plots go to the output folder that the configuration names."""
    from shoal.cli._show import show
    from shoal.training import train as run

    result = run(config, overrides or [], resume=resume or None)
    show(f"stopped by {result.stopped_by} after {len(result.history)} epochs")
    for part, errors in result.metrics.items():
        show(f"{part}: " + ", ".join(f"{name} {value:.3g}" for name, value in errors.items()))
    best = result.best or result.last
    show(f"{best}", f"next: shoal package {best} MODEL.shoal")
