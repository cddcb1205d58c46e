"""Moving systems without the engine: what a method steps on, and evaluations with a fresh list of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shoal.dynamics import MDState, maxwell_boltzmann
from shoal.motion import Evaluate, Evaluation, Systems
from shoal.neighbors import neighbor_list
from shoal.potentials import Potential
from shoal.random import Purpose, stream_keys
from shoal.state import SimState


def systems_of(
    state: SimState,
    *,
    fixed: torch.Tensor | None = None,
    fixed_com: torch.Tensor | Sequence[bool] | None = None,
) -> Systems:
    """What does not change while the systems of a state move; fixed (N,) bool, fixed_com (S,) bool, none by default."""
    counts, device = state.n_atoms_per_system, state.device
    numbers = torch.cat([torch.arange(int(n)) for n in counts]) if len(counts) else torch.arange(0)
    nothing = torch.zeros(state.n_systems, dtype=torch.bool, device=device)
    return Systems(
        system_index=state.system_index,
        atom_number=numbers.to(device),
        masses=state.masses.to(torch.float64),
        fixed=nothing[state.system_index] if fixed is None else torch.as_tensor(fixed, device=device),
        pbc=state.pbc,
        n_atoms=counts.to(device),
        fixed_com=nothing if fixed_com is None else torch.as_tensor(fixed_com, device=device),
        system_id=state.system_id,
        place=torch.arange(state.n_systems, device=device),
    )


def evaluator(potential: Potential, state: SimState) -> Evaluate:
    """Energy, forces and virial of the state's systems at other positions and cells."""
    types = potential.type_map()(state)

    def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        now = state.replace(positions=positions, cell=cell)
        pairs = neighbor_list(now, potential.cutoff)
        values = potential(now, pairs, ("energy", "forces", "virial"), atom_types=types)
        return Evaluation(*(values[name].detach() for name in ("energy", "forces", "virial")))

    return evaluate


def at_rest(state: SimState, systems: Systems, evaluate: Evaluate, timestep: float, seed: int = 0) -> MDState:
    """The start of a run with timestep fs, without velocities unless the state has them."""
    at = evaluate(state.positions, state.cell)
    steps = torch.zeros_like(state.system_id)
    return MDState(
        positions=state.positions,
        cell=state.cell,
        energy=at.energy,
        forces=at.forces,
        velocities=torch.zeros_like(state.positions) if state.velocities is None else state.velocities,
        timestep=torch.full((state.n_systems,), float(timestep), dtype=torch.float64),
        step=steps,
        elapsed=steps.clone(),
        noise=stream_keys(seed, state.system_id, Purpose.THERMOSTAT),
    )


def warm(
    state: SimState,
    systems: Systems,
    evaluate: Evaluate,
    timestep: float,
    temperature: float | Sequence[float],
    seed: int = 0,
) -> MDState:
    """The start of a run with velocities drawn at `temperature` K."""
    keys = stream_keys(seed, state.system_id, Purpose.VELOCITIES)
    velocities = maxwell_boltzmann(systems.pick(temperature), systems, keys)
    return at_rest(state.replace(velocities=velocities), systems, evaluate, timestep, seed)
