"""`shoal md`."""

from __future__ import annotations

from typing import Annotated

import typer

from shoal.cli import _run as run
from shoal.cli._show import DeviceOption, MapOption


def md(
    structures: run.Structures = None,
    model: run.Model = None,
    out: run.Out = None,
    config: run.Config = None,
    integrator: Annotated[
        str | None,
        typer.Option(
            "--integrator",
            help="NVE, Langevin, NoseHoover or CellRescaling; with parameters as "
            "'Langevin(temperature=500, friction=0.02)'. Default: Langevin at 300 K.",
        ),
    ] = None,
    timestep: Annotated[str | None, typer.Option("--timestep", help="fs.")] = None,
    n_steps: Annotated[int | None, typer.Option("--n-steps", help="Steps of every structure.")] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            "--temperature",
            help="K: draw velocities from it at the start. Default: those of the files, else at the integrator's.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of all random numbers. Default: a new one.")] = None,
    fix_atoms: run.FixAtoms = None,
    fix_com: run.FixCom = False,
    map: MapOption = None,
    device: DeviceOption = None,
    compile: run.Compile = None,
    skin: run.Skin = None,
    max_atoms: run.MaxAtoms = None,
    max_move: run.MaxMove = None,
    max_force: run.MaxForce = None,
    overwrite: run.Overwrite = False,
) -> None:
    """Simulate structures by molecular dynamics, many in one batch; the last frames are written."""
    given = {**locals()}
    from shoal.cli._run_options import MDOptions, options
    from shoal.cli._show import show
    from shoal.engine import simulate

    chosen = options(MDOptions, given.pop("config"), given)
    results = simulate(run.frames(chosen), chosen.model, errors="status", progress=True, **chosen.arguments())
    show(f"seed {results.seed}")
    run.conclude(results)
