"""The verb `relax`: many structures to their nearest minimum, in one batch that is refilled as they get there.

N atoms, S systems.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from shoal.constraints import Constraint
from shoal.engine.admission import Admitted, Errors, Member, admit, check_counts, check_lengths, n_rounds, n_systems_of
from shoal.engine.calculator import BatchCalculator
from shoal.engine.finished import finished, open_run
from shoal.engine.intake import Batch, batches
from shoal.engine.loop import Loop
from shoal.engine.outcome import Counts, SystemResult
from shoal.engine.run_progress import RunProgress, run_progress
from shoal.engine.run_results import RunInfo, RunResults
from shoal.engine.sinks import Sink
from shoal.engine.snapshot import RelaxationSnapshot
from shoal.engine.step import Goal, Limits
from shoal.engine.stepping import Compile, Stepping
from shoal.errors import InputError
from shoal.motion import PerSystem, Systems, unevaluated
from shoal.parameters import positive
from shoal.potentials import Potential
from shoal.relaxation import FIRE, CellFilter, Optimizer, RelaxState, cell_filter
from shoal.relaxation.state import DeformedState
from shoal.state import SimState, concatenate, select
from shoal.status import Status

if TYPE_CHECKING:
    from shoal.engine.intake import Structures

REFILL = 8
"""The batch is refilled in this many parts: when so much of it is done that the next part fits."""
WASTE = 0.3
"""The share of finished atoms that is carried along, at most, while nothing that waits fits."""
USUAL_STEPS = 100
"""What a relaxation takes, about, where max_steps does not end it before."""


def relax(
    structures: Structures,
    potential: BatchCalculator | Potential | str | Path,
    optimizer: Optimizer | None = None,
    cell: str | CellFilter | None = None,
    fmax: PerSystem = 0.01,
    stress_max: PerSystem | None = None,
    max_steps: int = 500,
    *,
    system_ids: Sequence[int] | None = None,
    constraints: Sequence[Constraint] | None = None,
    on_step: Callable[[RelaxationSnapshot], None] | None = None,
    every: int = 1,
    compile: Compile = "auto",
    skin: float = 1.0,
    max_atoms: int = 8192,
    limits: Limits | None = None,
    errors: Errors = "raise",
    allow_float32: bool = False,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    n_structures: int | None = None,
) -> RunResults:
    """Relax structures, atoms alone or with their cells; each goes as if it were alone.

    `structures`, `potential`, `device`, `chemical_species_to_atom_type_map`, `errors`: as for `evaluate`.
    `optimizer`: of `shoal.relaxation`, by default FIRE(). `cell`: None (cells stay), "unit" or "frechet", or a filter
    such as Frechet(pressure=1.0). `fmax` eV/A: done when the largest force on an atom or, by the cell filter, on the
    cell is below; `stress_max` GPa: and the largest stress is, too. `max_steps`: of each structure.
    `constraints`: of `shoal.constraints`, besides those the structures carry. `on_step` is called with a
    `RelaxationSnapshot` of what is resident every so many steps.
    `compile`: True, False, or "auto": where it pays; a sum of pair potentials is compiled with the step.
    `skin` A: how far the neighbour list reaches beyond the cutoff. `max_atoms`: atoms resident at the same time; what
    is done leaves, and the next takes its place. `limits`: beyond them a system counts as exploded; by default
    any finite force will do, since an optimizer's steps are short whatever the force.
    `out`: an .xyz file, to which each structure is appended when it is done.
    `n_structures`: how many there are, where they come as files or an iterator, so that the progress bar tells the time
    left.

    Ends are converged, max_steps, non_finite or exploded (at the last good frame), stopped; and with
    errors="status" invalid_input and unsupported.

    Raises InputError for unusable structures and arguments, UnsupportedSpeciesError, UnsupportedRequestError,
    ModelFileError, and CompileError with compile=True.
    """
    check_counts("max_steps", max_steps, every, max_atoms, skin)
    method = FIRE() if optimizer is None else optimizer
    if not isinstance(method, Optimizer):
        raise InputError(f"optimizer must be one of shoal.relaxation, such as FIRE(), got {method!r}")
    if cell is not None:
        method = method.on(cell_filter(cell))
    calculator = BatchCalculator.of(
        potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
    )
    n_systems = n_systems_of(structures, n_structures, system_ids)
    check_lengths(n_systems, fmax=fmax, stress_max=stress_max, pressure=getattr(method.cell, "pressure", 0.0))
    n_steps = n_rounds(structures, max_atoms) * min(max_steps, USUAL_STEPS)
    if stress_max is not None and not method.moves_cell:
        raise InputError('stress_max needs a cell that moves: cell="unit" or "frechet"')

    def accept(state: SimState, systems: Systems) -> None:
        method.init(systems, RelaxState(state.positions, state.cell, *unevaluated(state.positions, state.cell)))

    limits = limits or Limits(max_force=inf)
    run = _Relaxation(
        method=method,
        calculator=calculator,
        stepping=Stepping(method, calculator, limits, compile, n_steps),
        limits=limits,
        skin=skin,
        max_steps=max_steps,
        max_atoms=max_atoms,
        fmax=fmax,
        stress_max=stress_max,
        waiting=batches(structures, max(1, max_atoms // REFILL), system_ids),
        admit=lambda batch, place: admit(
            batch, calculator, place, errors=errors, constraints=constraints, allow_float32=allow_float32, accept=accept
        ),
        sink=open_run(out, overwrite=overwrite),
    )
    start = time.perf_counter()
    with run.sink, run_progress(n_systems) if progress else nullcontext() as bar:
        run.go(bar, on_step, every)
    run.counts.seconds = time.perf_counter() - start
    info = RunInfo(type(method).__name__, None, run.stepping.compiled, run.n_rebuilds, run.atom_steps)
    outputs = ("energy", "forces", "stress") if method.moves_cell else ("energy", "forces")
    ordered = sorted(run.sink.kept, key=lambda result: run.places[result.system_id])
    return RunResults(outputs, ordered, run.counts, info, run.states, run.sink.path)


@dataclass
class _Relaxation:
    """A relaxation under way: what is resident (`loop`, `members`), what waits, and what has ended."""

    method: Optimizer
    calculator: BatchCalculator
    stepping: Stepping[DeformedState]
    limits: Limits
    skin: float
    max_steps: int
    max_atoms: int
    fmax: PerSystem
    stress_max: PerSystem | None
    waiting: Iterator[Batch]
    admit: Callable[[Batch, int], Admitted]
    sink: Sink
    loop: Loop[DeformedState] | None = None
    members: list[Member] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    states: list[SimState] = field(default_factory=list)
    n_rebuilds: int = 0
    atom_steps: int = 0

    def go(self, bar: RunProgress | None, on_step: Callable[[RelaxationSnapshot], None] | None, every: int) -> None:
        """Until nothing moves and nothing waits."""
        next_batch = next(self.waiting, None)
        n_steps = 0
        while True:
            next_batch = self._fill(next_batch, bar)
            loop = self.loop
            if loop is None or not loop.any_active:
                if next_batch is not None:
                    continue
                if loop is not None:
                    self._emit(bar)
                break
            if on_step is not None and n_steps % every == 0:
                on_step(RelaxationSnapshot(loop, n_steps))
            loop.step()
            n_steps += 1
            if bar is not None:
                bar.stepped(loop.n_atoms, loop.systems.n_systems)
            if loop.any_done:
                loop.freeze(loop.done, Status.CONVERGED)
            self._stop_the_longest(loop)

    def _stop_the_longest(self, loop: Loop[DeformedState]) -> None:
        if loop.most_steps >= self.max_steps:
            loop.freeze(loop.active & (loop.steps >= self.max_steps), Status.MAX_STEPS)

    def _fill(self, batch: Batch | None, bar: RunProgress | None) -> Batch | None:
        """Write what has ended and let in all that fits, if it is worth the trouble; the batch that waits next."""
        staying = 0 if self.loop is None else self.loop.n_active_atoms
        resident = 0 if self.loop is None else self.loop.n_atoms
        coming: list[Admitted] = []
        room = self.max_atoms - staying
        while batch is not None:
            size = sum(batch.n_atoms(row) for row in range(len(batch.ids)))
            if size > room and (staying or coming):
                break
            admitted = self._admitted(batch, bar)
            batch = next(self.waiting, None)
            if admitted.state is not None:
                coming.append(admitted)
                room -= size
        if coming or (staying and resident - staying > WASTE * resident):
            self._exchange(coming, bar)
        return batch

    def _admitted(self, batch: Batch, bar: RunProgress | None) -> Admitted:
        admitted = self.admit(batch, len(self.places))
        for system_id in batch.ids:
            self.places[int(system_id)] = len(self.places)
        self._write(list(admitted.refused), bar)
        return admitted

    def _exchange(self, coming: Sequence[Admitted], bar: RunProgress | None) -> None:
        arrivals = self._arrivals(coming) if coming else None
        members = [member for admitted in coming for member in admitted.members]
        if self.loop is None:
            self.loop, self.members = arrivals, members
        else:
            keep = self._emit(bar)
            self.members = [self.members[row] for row in keep.tolist()] + members
            self.loop.exchange(keep, arrivals)
        if self.loop is None:
            return
        self.loop.begin(self.loop.frame)
        self.loop.freeze(self.loop.active & self._arrived(), Status.CONVERGED)
        self._stop_the_longest(self.loop)
        self.stepping(self.loop)

    def _arrivals(self, coming: Sequence[Admitted]) -> Loop[DeformedState]:
        """What comes, at its first frame: a loop of its own that gives its lists to the one it joins."""
        state = concatenate([admitted.state for admitted in coming if admitted.state is not None])
        systems = Systems.join([admitted.systems for admitted in coming if admitted.systems is not None])
        anything = torch.full_like(state.cell[:, 0, 0], inf)
        most = anything if self.stress_max is None else positive("stress_max", self.stress_max, systems)
        goal = Goal(positive("fmax", self.fmax, systems), most)
        skin = self.skin if self.loop is None else self.loop.neighbors.skin
        loop: Loop[DeformedState] = Loop(
            self.method, self.calculator, state, systems, skin=skin, limits=self.limits, goal=goal
        )
        at = loop.evaluate(state.positions, state.cell)
        loop.frame = self.method.init(systems, RelaxState(state.positions, state.cell, *at))
        return loop

    def _arrived(self) -> torch.Tensor:
        loop = self.loop
        assert loop is not None
        assert loop.goal is not None
        return self.method.converged(loop.frame, loop.systems, loop.goal.fmax, loop.goal.stress_max)

    def _emit(self, bar: RunProgress | None) -> torch.Tensor:
        """Write the results of what has ended; the rows (int64) of what has not."""
        loop = self.loop
        assert loop is not None
        ended = (~loop.active).nonzero()[:, 0].tolist()
        final = loop.moved_state()
        results = finished(loop, self.members, final, Status.CONVERGED, ended)
        if self.sink.path is None and ended:
            self.states.append(select(final, ended))
        self._write(results, bar)
        self.n_rebuilds, self.atom_steps = loop.n_rebuilds, loop.atom_steps
        return loop.active.nonzero()[:, 0]

    def _write(self, results: Sequence[SystemResult], bar: RunProgress | None) -> None:
        self.sink.write(results)
        self.counts.add(results)
        if bar is not None:
            bar.finished(len(results))
