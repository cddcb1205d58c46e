"""Argon in small cells, its methods of motion, and runs without the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from tests.moving import at_rest, systems_of, warm

from shoal.dynamics import NVE, CellRescaling, Integrator, Langevin, MDState, NoseHoover
from shoal.io import atoms_to_state
from shoal.motion import Evaluate, Evaluation, Systems
from shoal.neighbors import neighbor_list
from shoal.potentials import LennardJones, Potential
from shoal.state import SimState

TEMPERATURE = 60.0
METHODS: dict[str, Integrator] = {
    "NVE": NVE(),
    "Langevin": Langevin(TEMPERATURE, 0.01),
    "NoseHoover": NoseHoover(TEMPERATURE, 200.0),
    "CellRescaling, isotropic": CellRescaling(TEMPERATURE, 0.05, 0.01, 1000.0, 0.3),
    "CellRescaling, flexible": CellRescaling(TEMPERATURE, 0.05, 0.01, 1000.0, 0.3, "flexible"),
}
"""Every integrator, in every form that steps differently."""

THERMOSTATS = [name for name in METHODS if name != "NVE"]
BAROSTATS = [name for name in METHODS if METHODS[name].moves_cell]


def argon(truncation: str = "switch", cutoff: float = 7.0) -> LennardJones:
    return LennardJones({"Ar": (0.0104, 3.4)}, cutoff=cutoff, truncation=truncation)  # type: ignore[arg-type]


def crystal(seed: int, repeat: tuple[int, int, int] = (2, 2, 1), rattle: float = 0.1) -> Atoms:
    """A triclinic cell of fcc argon, rattled."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * repeat
    shear = np.array([[1.0, 0.02, 0.01], [0.0, 1.0, 0.03], [0.0, 0.0, 1.0]])
    atoms.set_cell(np.asarray(atoms.cell) @ shear, scale_atoms=True)
    atoms.rattle(rattle, seed=seed)
    return atoms


def listed(potential: Potential, state: SimState, skin: float = 1.0) -> Evaluate:
    """Like `tests.moving.evaluator`, with a list that is kept while it holds."""
    types = potential.type_map()(state)
    pairs = neighbor_list(state, potential.cutoff, skin)

    def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        nonlocal pairs
        now = state.replace(positions=positions, cell=cell)
        if not bool((pairs.used_skin(positions, cell) <= 1).all()):
            pairs = neighbor_list(now, potential.cutoff, skin)
        values = potential(now, pairs, ("energy", "forces", "virial"), atom_types=types)
        return Evaluation(*(values[name].detach() for name in ("energy", "forces", "virial")))

    return evaluate


class Run:
    """A method with what it moves: `state` is the one now."""

    def __init__(self, method: Integrator, systems: Systems, start: MDState, evaluate: Evaluate) -> None:
        self.method, self.systems, self.evaluate = method, systems, evaluate
        self.state = method.init(systems, start, evaluate(start.positions, start.cell).virial)

    def steps(self, n_steps: int) -> Iterator[MDState]:
        for _ in range(n_steps):
            self.state = self.method.step(self.state, self.systems, self.evaluate)
            yield self.state

    def after(self, n_steps: int) -> MDState:
        for _ in self.steps(n_steps):
            pass
        return self.state

    def conserved(self, n_steps: int) -> torch.Tensor:
        """(n_steps + 1, S) eV."""
        values = [self.method.conserved(self.state, self.systems)]
        values += [self.method.conserved(state, self.systems) for state in self.steps(n_steps)]
        return torch.stack(values)


def run_of(
    method: Integrator,
    structures: Sequence[Atoms],
    timestep: float | Sequence[float] = 4.0,
    temperature: float | Sequence[float] | None = TEMPERATURE,
    *,
    potential: Potential | None = None,
    system_ids: Sequence[int] | None = None,
    fixed: torch.Tensor | None = None,
    fixed_com: Sequence[bool] | None = None,
    seed: int = 0,
) -> Run:
    """A run that starts from velocities drawn at `temperature` K, or with None from those of the structures."""
    potential = potential or argon()
    state = atoms_to_state(list(structures), system_ids=system_ids)
    systems = systems_of(state, fixed=fixed, fixed_com=fixed_com)
    evaluate = listed(potential, state)
    if temperature is None:
        start = at_rest(state, systems, evaluate, 1.0, seed)
    else:
        start = warm(state, systems, evaluate, 1.0, temperature, seed)
    return Run(method, systems, start.replace(timestep=systems.pick(timestep)), evaluate)


@cache
def warm_crystals(n_systems: int) -> tuple[Atoms, ...]:
    """Crystals in equilibrium at TEMPERATURE, with velocities and at rest as a whole."""
    run = run_of(Langevin(TEMPERATURE, 0.01), [crystal(k) for k in range(n_systems)], 16.0, 2 * TEMPERATURE)
    state = run.after(60)
    structures = []
    for s in range(n_systems):
        rows = run.systems.system_index == s
        atoms = crystal(s)
        atoms.positions = state.positions[rows].numpy()
        atoms.set_velocities(state.velocities[rows].numpy() / units.fs)
        atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(0))
        structures.append(atoms)
    return tuple(structures)
