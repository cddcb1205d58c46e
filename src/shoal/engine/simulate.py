"""The verb `simulate`: molecular dynamics of many systems in one batch.

N atoms, S systems.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.constraints import Constraint, hold_velocities
from shoal.dynamics import Integrator, Langevin, MDState, maxwell_boltzmann
from shoal.dynamics.base import PerSystem
from shoal.engine.admission import Admitted, Errors, admit, check_counts, check_lengths, n_rounds, n_systems_of
from shoal.engine.calculator import BatchCalculator
from shoal.engine.finished import finished, open_run
from shoal.engine.intake import batches
from shoal.engine.loop import Loop
from shoal.engine.outcome import Counts, SystemResult
from shoal.engine.run_progress import RunProgress, run_progress
from shoal.engine.run_results import RunInfo, RunResults
from shoal.engine.snapshot import DynamicsSnapshot
from shoal.engine.step import Limits
from shoal.engine.stepping import Compile, Stepping
from shoal.errors import InputError
from shoal.motion import Evaluation, Frame, Systems, unevaluated
from shoal.parameters import not_negative, positive
from shoal.potentials import Potential
from shoal.random import Purpose, new_seed, stream_keys
from shoal.state import SimState
from shoal.status import Status

if TYPE_CHECKING:
    from shoal.engine.intake import Structures

OUTPUTS = ("energy", "forces")


def simulate(
    structures: Structures,
    potential: BatchCalculator | Potential | str | Path,
    integrator: Integrator | None = None,
    timestep: PerSystem = 1.0,
    n_steps: int = 1000,
    *,
    temperature: PerSystem | None = None,
    seed: int | None = None,
    system_ids: Sequence[int] | None = None,
    constraints: Sequence[Constraint] | None = None,
    on_step: Callable[[DynamicsSnapshot], None] | None = None,
    every: int = 1,
    compile: Compile = "auto",
    skin: float = 1.0,
    max_atoms: int = 16384,
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
    """Move structures by molecular dynamics; each runs as if it were alone.

    `structures`, `potential`, `device`, `chemical_species_to_atom_type_map`, `errors`: as for `evaluate`.
    `integrator`: of `shoal.dynamics`, by default Langevin(temperature=300, friction=0.01). `timestep` fs: one for all
    or one for each system. `temperature` K: velocities are drawn from it at the start; by default those that
    structures have are kept, and the others drawn at the integrator's temperature, if it has one.
    `seed`: 0 to 2**64 - 1, by default one from the operating system, which the results tell. All random numbers follow
    from it, the system's id and the step. `constraints`: of `shoal.constraints`, besides those the structures carry.
    `on_step` is called at the start and then `every` so many steps with a `DynamicsSnapshot` of the batch.
    `compile`: True, False, or "auto": where it pays; a sum of pair potentials is compiled with the step.
    `skin` A: how far the neighbour list reaches beyond the cutoff. `max_atoms`: atoms that run at the same time.
    `limits`: beyond them a system counts as exploded. `out`: an .xyz file for the last frames. `n_structures`: how many
    there are, where they come as files or an iterator, so that the progress bar tells the time left.

    A system that goes wrong is frozen at its last good frame with the status non_finite or exploded; the others go on.
    Run on from `results.state` to continue: velocities, steps and the thermostat's memory are in it.

    Raises InputError for unusable structures and arguments, UnsupportedSpeciesError, UnsupportedRequestError,
    ModelFileError, and CompileError with compile=True.
    """
    method = Langevin() if integrator is None else integrator
    if not isinstance(method, Integrator):
        raise InputError(f"integrator must be one of shoal.dynamics, such as Langevin(temperature=300), got {method!r}")
    check_counts("n_steps", n_steps, every, max_atoms, skin)
    calculator = BatchCalculator.of(
        potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
    )
    limits = limits or Limits()
    seed = new_seed() if seed is None else seed
    stepping: Stepping[MDState] = Stepping(
        method, calculator, limits, compile, n_rounds(structures, max_atoms) * n_steps
    )
    counts, start = Counts(), time.perf_counter()
    total = n_systems_of(structures, n_structures, system_ids)
    own = {f.name: getattr(method, f.name) for f in fields(method)}  # type: ignore[arg-type]
    check_lengths(total, timestep=timestep, temperature=temperature, **{f"integrator.{k}": v for k, v in own.items()})

    def accept(state: SimState, systems: Systems) -> None:
        at = unevaluated(state.positions, state.cell)
        method.init(systems, _begun(state, systems, at, torch.zeros_like(state.positions), timestep, seed), at.virial)

    states: list[SimState] = []
    n_rebuilds, atom_steps, place = 0, 0, 0
    sink = open_run(out, overwrite=overwrite)
    with sink, run_progress(total, n_steps) if progress else nullcontext() as bar:
        for batch in batches(structures, max_atoms, system_ids):
            admitted = admit(
                batch,
                calculator,
                place,
                errors=errors,
                constraints=constraints,
                allow_float32=allow_float32,
                accept=accept,
            )
            place += len(batch.ids)
            results: list[SystemResult] = list(admitted.refused)
            if admitted.state is not None:
                run = _start(admitted, calculator, method, stepping, timestep, temperature, seed, skin, limits)
                _run(run, method, n_steps, every, on_step, bar)
                final = _final_state(run, method)
                results += finished(run, admitted.members, final, Status.DONE)
                n_rebuilds += run.n_rebuilds
                atom_steps += run.atom_steps
                if out is None:
                    states.append(final)
            order = {system_id: k for k, system_id in enumerate(batch.ids)}
            results.sort(key=lambda result: order[result.system_id])
            sink.write(results)
            counts.add(results)
            if bar is not None:
                bar.finished(len(results))
    counts.seconds = time.perf_counter() - start
    info = RunInfo(type(method).__name__, seed, stepping.compiled, n_rebuilds, atom_steps)
    return RunResults(OUTPUTS, sink.kept, counts, info, states, sink.path)


def _start(
    admitted: Admitted,
    calculator: BatchCalculator,
    method: Integrator,
    stepping: Stepping[MDState],
    timestep: PerSystem,
    temperature: PerSystem | None,
    seed: int,
    skin: float,
    limits: Limits,
) -> Loop[MDState]:
    """The loop of a batch, at its first frame."""
    state, systems = admitted.state, admitted.systems
    assert state is not None
    assert systems is not None
    loop: Loop[MDState] = Loop(method, calculator, state, systems, skin=skin, limits=limits)
    loop.warn_of_overlaps()
    at = loop.evaluate(state.positions, state.cell)
    keys = stream_keys(seed, state.system_id, Purpose.VELOCITIES)
    velocities = _velocities(state, systems, method, temperature, keys)
    begun = _begun(state, systems, at, velocities, timestep, seed)
    loop.begin(_with_memory(method.init(systems, begun, at.virial), method, state))
    stepping(loop)
    return loop


def _begun(
    state: SimState, systems: Systems, at: Evaluation, velocities: torch.Tensor, timestep: PerSystem, seed: int
) -> MDState:
    return MDState(
        positions=state.positions,
        cell=state.cell,
        energy=at.energy,
        forces=at.forces,
        velocities=velocities,
        timestep=positive("timestep", timestep, systems),
        step=_steps_before(state),
        elapsed=torch.zeros_like(systems.n_atoms),
        noise=stream_keys(seed, state.system_id, Purpose.THERMOSTAT),
    )


def _run(
    loop: Loop[MDState],
    method: Integrator,
    n_steps: int,
    every: int,
    on_step: Callable[[DynamicsSnapshot], None] | None,
    bar: RunProgress | None,
) -> None:
    if on_step is not None:
        on_step(DynamicsSnapshot(loop, 0))
    for k in range(1, n_steps + 1):
        if not loop.any_active:
            break
        loop.step()
        if on_step is not None and k % every == 0:
            on_step(DynamicsSnapshot(loop, k))
        if bar is not None:
            bar.stepped(loop.n_atoms, loop.systems.n_systems)


def _velocities(
    state: SimState, systems: Systems, method: Integrator, temperature: PerSystem | None, keys: torch.Tensor
) -> torch.Tensor:
    """(N, 3) A/fs: drawn where a temperature is given or a system has none of its own."""
    wanted = method.start_temperature if temperature is None else temperature
    own = torch.zeros_like(state.positions) if state.velocities is None else state.velocities
    if wanted is not None:
        drawn = maxwell_boltzmann(not_negative("temperature", wanted, systems), systems, keys, _steps_before(state))
        has_own = systems.sum(own.abs().sum(1)) > 0
        keep = has_own if temperature is None else torch.zeros_like(has_own)
        own = torch.where(systems.of_atoms(keep)[:, None], own, drawn)
    return hold_velocities(own, systems)


STEPS = "md_steps"


def _steps_before(state: SimState) -> torch.Tensor:
    """(S,) int64: steps that the systems took in earlier runs, so that their random numbers go on."""
    nothing = torch.zeros(state.n_systems, dtype=torch.int64, device=state.device)
    return _remembered(state, STEPS, nothing)


def _remembered(state: SimState, key: str, fresh: torch.Tensor) -> torch.Tensor:
    """`fresh` (S, ...) with the rows that systems bring along, whatever they share a batch with.

    What only some systems of a state have is in their `sources`.
    """
    rows = fresh.clone()
    shared = state.system_extras.get(key)
    for s in range(state.n_systems):
        kept = shared[s] if shared is not None else None if state.sources is None else state.sources[s].info.get(key)
        if kept is not None and np.shape(kept) == tuple(fresh.shape[1:]):
            rows[s] = torch.as_tensor(kept, dtype=fresh.dtype, device=fresh.device)
    return rows


def _memory_fields(frame: Frame) -> list[str]:
    return [f.name for f in fields(frame) if f.metadata.get("memory")]


def _memory_key(method: Integrator, name: str) -> str:
    return f"md_{type(method).__name__}_{name}"


def _with_memory(frame: MDState, method: Integrator, state: SimState) -> MDState:
    """The frame with what the same method remembers of an earlier run."""
    return frame.replace(
        **{name: _remembered(state, _memory_key(method, name), getattr(frame, name)) for name in _memory_fields(frame)}
    )


def _final_state(loop: Loop[MDState], method: Integrator) -> SimState:
    frame = loop.frame
    memory = {_memory_key(method, name): getattr(frame, name) for name in _memory_fields(frame)}
    return loop.state.replace(
        positions=frame.positions,
        cell=frame.cell,
        velocities=frame.velocities,
        system_extras={**loop.state.system_extras, STEPS: frame.step, **memory},
    )
