"""`shoal relax`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shoal.cli import _run as run


class RelaxFlags:
    """What is particular to relaxations."""

    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="FIRE or LBFGS; with parameters as 'LBFGS(memory=20)'.")
    ]
    cell: Annotated[
        str | None, typer.Option("--cell", help="unit or frechet; with parameters as 'frechet(pressure=1.0)'.")
    ]
    fmax: Annotated[str | None, typer.Option("--fmax", help="eV/A: the largest force at the end.")]
    stress_max: Annotated[str | None, typer.Option("--stress-max", help="GPa: the largest stress, too.")]
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Steps of each structure, at most.")]


@run.takes(run.FileFlags, RelaxFlags, run.RunFlags)
def relax(**given: Any) -> None:
    """Relax structures, atoms alone or with their cells; each is written when it is done."""
    from shoal.cli._run_options import RelaxOptions, options
    from shoal.engine import relax as engine_relax

    chosen = options(RelaxOptions, given)
    run.conclude(engine_relax(**run.inputs(chosen), **chosen.arguments()))
