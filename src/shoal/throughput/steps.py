"""Where a step of dynamics and one of a relaxation spend their time, by the parts of the engine's own loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.dynamics import NVE
from shoal.engine import BatchCalculator, relax, simulate
from shoal.engine.run_results import RunResults
from shoal.errors import CompileError
from shoal.potentials import pair_terms
from shoal.relaxation import FIRE
from shoal.throughput.parts import timed_parts
from shoal.throughput.report import Step
from shoal.throughput.structures import rattled
from shoal.throughput.timing import rounds_within

if TYPE_CHECKING:
    from ase import Atoms

METHODS = ("NVE", "FIRE")
TEMPERATURE, TIMESTEP = 300.0, 1.0  # K, fs
NEVER = 1e-12
"""eV/A: a relaxation to this force goes on."""
MOTION = "integrator"
"""What of a step is neither list nor model: what moves the atoms, and the checks of every step."""


class Visit(NamedTuple):
    """Some steps in a row: seconds an atom and step by part, renewals of the list, and whether they are compiled."""

    parts: dict[str, float]
    renewals: int
    compiled: bool


Run = Callable[..., RunResults]


def runs(structures: Sequence[Atoms], calculator: BatchCalculator, n_steps: int) -> dict[str, Run]:
    """A method's name -> what lets it take `n_steps` with these structures, given `on_step`, `every` and `compile`."""
    common: dict[str, Any] = {
        "progress": False,
        "errors": "status",
        "max_atoms": sum(map(len, structures)),
    }

    def dynamics(**options: Any) -> RunResults:
        return simulate(
            structures, calculator, NVE(), TIMESTEP, n_steps, temperature=TEMPERATURE, seed=0, **common, **options
        )

    def relaxation(**options: Any) -> RunResults:
        return relax(structures, calculator, FIRE(), fmax=NEVER, max_steps=n_steps, **common, **options)

    return dict(zip(METHODS, (dynamics, relaxation), strict=True))


def visit(run: Run, calculator: BatchCalculator, n_steps: int, compile: bool) -> Visit:
    """One run of so many steps; what comes before the first does not count.

    Where steps cannot be compiled they are not.
    """
    began: list[None] = []
    with timed_parts() as seconds:

        def begin(_: object) -> None:
            if not began:
                began.append(None)
                seconds.clear()

        try:
            results = run(on_step=begin, every=n_steps, compile=compile)
        except CompileError:
            return visit(run, calculator, n_steps, compile=False)
    info = results.info
    whole_model = info.compiled and pair_terms(calculator.potential) is not None
    return Visit(split(seconds, info.atom_steps, whole_model=whole_model), max(0, info.n_rebuilds - 1), info.compiled)


def split(seconds: Mapping[str, float], atom_steps: int, *, whole_model: bool) -> dict[str, float]:
    """Seconds an atom and step by part, from those of all by `PARTS`.

    `whole_model`: the model is compiled with what moves the atoms, so that the two are one part.
    """
    scale = 1 / max(atom_steps, 1)
    lists, model = scale * seconds["list"], scale * seconds["model"]
    rest = max(0.0, scale * seconds["whole"] - lists - model)
    if whole_model:
        return {"list": lists, f"model and {MOTION}": model + rest}
    return {"list": lists, "model": model, MOTION: rest}


def measure_steps(
    structures: Sequence[Atoms],
    calculator: BatchCalculator,
    n_steps: int,
    rounds: int,
    enough: float,
    compile: bool,
    tell: Callable[[str], object],
) -> list[Step]:
    """A step of NVE and one of FIRE: parts of the median visit, quartiles of all; no round begins after `enough` s.

    Atoms are displaced first, so that there is something to relax. A method that finds nothing to move is left out.
    """
    sides = runs(rattled(structures), calculator, n_steps)
    visits: dict[str, list[Visit]] = {name: [] for name in sides}
    for name, run in sides.items():
        tell(f"{name}, first steps" + (", compiled once" if compile else ""))
        visit(run, calculator, n_steps, compile)
    for number in rounds_within(rounds, enough):
        for name, run in sides.items():
            tell(f"{n_steps} steps of {name}, round {number} of {rounds}")
            visits[name].append(visit(run, calculator, n_steps, compile))
    return [_step(name, found, n_steps) for name, found in visits.items() if all(any(v.parts.values()) for v in found)]


def _step(name: str, visits: Sequence[Visit], n_steps: int) -> Step:
    label = f"{name} step" + ("" if visits[0].compiled else ", not compiled")
    return Step.of(label, [one.parts for one in visits], visits[0].renewals, n_steps)
