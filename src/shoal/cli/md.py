"""`shoal md`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shoal.cli import _run as run


class MDFlags:
    """What is particular to dynamics."""

    integrator: Annotated[
        str | None,
        typer.Option(
            "--integrator",
            help="NVE, Langevin, NoseHoover or CellRescaling; with parameters as "
            "'Langevin(temperature=500, friction=0.02)'. Default: Langevin at 300 K.",
        ),
    ]
    timestep: Annotated[str | None, typer.Option("--timestep", help="fs.")]
    n_steps: Annotated[int | None, typer.Option("--n-steps", help="Steps of every structure.")]
    temperature: Annotated[
        str | None,
        typer.Option(
            "--temperature",
            help="K: draw velocities from it at the start. Default: those of the files, else at the integrator's.",
        ),
    ]
    seed: Annotated[int | None, typer.Option("--seed", help="Of all random numbers. Default: a new one.")]


@run.takes(run.FileFlags, MDFlags, run.RunFlags)
def md(**given: Any) -> None:
    """Simulate structures by molecular dynamics, many in one batch; the last frames are written."""
    from shoal.cli._run_options import MDOptions, options
    from shoal.cli._show import show
    from shoal.engine import simulate

    chosen = options(MDOptions, given)
    results = simulate(**run.inputs(chosen), **chosen.arguments())
    show(f"seed {results.seed}")
    run.conclude(results)
