"""`shoal relax`."""

from __future__ import annotations

from typing import Annotated

import typer

from shoal.cli import _run as run
from shoal.cli._show import DeviceOption, MapOption


def relax(
    structures: run.Structures = None,
    model: run.Model = None,
    out: run.Out = None,
    config: run.Config = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="FIRE or LBFGS; with parameters as 'LBFGS(memory=20)'.")
    ] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", help="unit or frechet; with parameters as 'frechet(pressure=1.0)'.")
    ] = None,
    fmax: Annotated[str | None, typer.Option("--fmax", help="eV/A: the largest force at the end.")] = None,
    stress_max: Annotated[str | None, typer.Option("--stress-max", help="GPa: the largest stress, too.")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Steps of each structure, at most.")] = None,
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
    """Relax structures, atoms alone or with their cells; each is written when it is done."""
    given = {**locals()}
    from shoal.cli._run_options import RelaxOptions, options
    from shoal.engine import relax as engine_relax

    chosen = options(RelaxOptions, given.pop("config"), given)
    arguments = chosen.arguments()
    run.conclude(engine_relax(run.frames(chosen), chosen.model, errors="status", progress=True, **arguments))
