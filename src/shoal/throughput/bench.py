"""The verb `bench`: how fast a model runs here, in which batches, and where the time goes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from shoal.conformance.open import subject_of
from shoal.conformance.potential_subject import PotentialSubject
from shoal.contract import DEFAULT_OUTPUTS
from shoal.engine import BatchCalculator
from shoal.errors import InputError, ShoalWarning
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.report.provenance import machine, versions
from shoal.state import SimState
from shoal.throughput import timing
from shoal.throughput.memory import PeakMemory
from shoal.throughput.model_facts import model_facts
from shoal.throughput.report import Batch, Series, Step, Throughput
from shoal.throughput.steps import METHODS, measure_steps
from shoal.throughput.structures import Crystals, Given, batches
from shoal.throughput.timing import Timing, alternate, repeats, rounds_within

if TYPE_CHECKING:
    from ase import Atoms

SIZES = (8, 64)
"""Atoms of the crystals that are built."""
SKIN = 1.0
"""A: as `simulate` and `relax` have it."""
VISIT = 0.05
"""s that a visit of one batch fills, by repetition where a call is shorter."""
ENOUGH = 60.0
"""s after which no further round begins."""
PACKAGES = ("shoal", "torch", "numpy", "ase", "vesin")

Progress = Callable[[float, str], object]


def bench(
    model: Any,
    structures: Sequence[Atoms] = (),
    *,
    threads: int | None = None,
    atoms: Sequence[int] = SIZES,
    max_atoms: int = 4096,
    n_steps: int = 50,
    rounds: int = 5,
    compile: bool = True,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
    progress: Progress | None = None,
) -> Throughput:
    """Time a model: evaluations (neighbour list and energy, forces and stress) of batches of 1, 2, 4 ... systems with
    at most `max_atoms` atoms, and `n_steps` of NVE dynamics and of a FIRE relaxation at the best batch.

    `model`: a file (package, compiled, NequIP's compiled), a Potential, a BatchCalculator, or "module:factory" of a
    Potential. `structures`: the batches repeat them; without any they are rattled crystals of the model's first
    species with `atoms` atoms each. `threads` of torch, by default as they are. Batches take turns, `rounds` times;
    no round begins after a minute. `compile`: steps are compiled, as those of long runs are, which takes a minute once.
    `progress` is called with the share of the work that is done, and a line on what comes.

    Raises InputError for what is no model or takes one structure at a time, and for counts below one; ModelFileError.
    """
    for name, value in {"threads": threads, "max_atoms": max_atoms, "n_steps": n_steps, "rounds": rounds}.items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if not (len(atoms) or len(structures)):
        raise InputError("atoms must name at least one number of atoms")
    calculator, subject = _opened(model, device, chemical_species_to_atom_type_map)
    with timing.threads(threads) as n_threads:
        kinds: list[Crystals | Given]
        kinds = [Given(structures)] if len(structures) else [Crystals(subject, n) for n in atoms]
        sides = [[_Side(batch, calculator) for batch in batches(kind, max_atoms)] for kind in kinds]
        sides[0][0].seconds()
        tell = _Told(progress, (1 + rounds) * (sum(map(len, sides)) + len(METHODS)))
        measured = _measured(sides, PeakMemory(calculator.device), rounds, tell)
        series = tuple(Series(kind.name, found) for kind, found in zip(kinds, measured, strict=True))
        best = kinds[-1](series[-1].best.n_systems)
        steps = measure_steps(best, calculator, n_steps, rounds, ENOUGH, compile, tell)
        renewal = _renewal(best, calculator, rounds)
        where = machine()
    evaluation, done = _evaluation(series[-1].best), len(series[-1].best.rounds)
    facts = model_facts(model, calculator.potential)
    return Throughput(facts, where, versions(PACKAGES), n_threads, done, series, (evaluation, *steps), renewal)


class _Told:
    """Counts the lines about what is done, of `total`."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.n = progress, total, 0

    def __call__(self, line: str) -> None:
        if self.progress is not None:
            self.progress(self.n / self.total, line)
        self.n += 1


def _opened(model: Any, device: Any, species: object) -> tuple[BatchCalculator, PotentialSubject]:
    """Raises InputError for a model that takes one structure at a time."""
    subject = subject_of(model, device=device, chemical_species_to_atom_type_map=species)
    if not isinstance(subject, PotentialSubject):
        raise InputError(
            f"{subject.name} takes one structure at a time: bench is for packages, compiled files and Potentials"
        )
    if isinstance(model, BatchCalculator):
        return model, subject
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShoalWarning)  # said once already
        return BatchCalculator(subject.potential, chemical_species_to_atom_type_map=species), subject


def _measured(
    sides: Sequence[Sequence[_Side]], memory: PeakMemory, rounds: int, tell: Callable[[str], object]
) -> list[tuple[Batch, ...]]:
    """All batches of all kinds, in turns."""
    everyone = [side for of_kind in sides for side in of_kind]
    for side in sorted(everyone, key=lambda side: side.n_atoms):
        tell(f"{side.n_systems} systems, {side.n_atoms} atoms, first call")
        side.memory = memory.of(side.seconds)
    for number in rounds_within(rounds, ENOUGH):
        for side in everyone:
            tell(f"{side.n_systems} systems, {side.n_atoms} atoms, round {number} of {rounds}")
            side.visit()
    return [tuple(side.measured() for side in of_kind) for of_kind in sides]


class _Side:
    """One batch: what times it, and what was found."""

    def __init__(self, structures: list[Atoms], calculator: BatchCalculator) -> None:
        self.structures, self.calculator = structures, calculator
        self.n_systems, self.n_atoms = len(structures), sum(map(len, structures))
        self.memory: int | None = None
        self._found: list[tuple[float, float]] = []
        self._state: SimState | None = None
        self._repeats = 1

    def visit(self) -> None:
        if not self._found:
            self._repeats = repeats(self.seconds, VISIT)
        both = [self.seconds() for _ in range(self._repeats)]
        self._found.append((sum(a for a, _ in both) / len(both), sum(b for _, b in both) / len(both)))

    def seconds(self) -> tuple[float, float]:
        """Of the neighbour list, and of the model with it; the first call packs the structures."""
        if self._state is None:
            self._state = atoms_to_state(self.structures, device=self.calculator.device)
            self._types = self.calculator.type_map(self._state)
        clock = partial(_clock, self.calculator.device)
        start = clock()
        neighbors = neighbor_list(self._state, self.calculator.cutoff)
        listed = clock()
        self.calculator.potential(self._state, neighbors, DEFAULT_OUTPUTS, atom_types=self._types)
        return listed - start, clock() - listed

    def measured(self) -> Batch:
        return Batch(self.n_systems, self.n_atoms, tuple(self._found), self.memory)


def _clock(device: torch.device) -> float:
    """Seconds, when all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _renewal(structures: list[Atoms], calculator: BatchCalculator, rounds: int) -> Timing:
    """Seconds an atom."""
    state = atoms_to_state(structures, device=calculator.device)
    turn = {"list": lambda: neighbor_list(state, calculator.cutoff, SKIN)}
    return alternate(turn, rounds, VISIT)["list"].over(state.n_atoms)


def _evaluation(batch: Batch) -> Step:
    """An evaluation with a new list, as a step."""
    rounds = [{"list": lists / batch.n_atoms, "model": model / batch.n_atoms} for lists, model in batch.rounds]
    return Step.of("evaluation", rounds)
