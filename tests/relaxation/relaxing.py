"""Structures to relax, the same run by ASE, and a run of an optimizer without the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, FixCom
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.optimize import FIRE as AseFIRE
from ase.optimize import LBFGS as AseLBFGS
from ase.stress import full_3x3_to_voigt_6_stress
from tests.moving import evaluator, systems_of

from shoal.io import atoms_to_state
from shoal.motion import Evaluate, Systems
from shoal.potentials import LennardJones
from shoal.relaxation import FIRE, LBFGS, CellFilter, FixedCell, Frechet, Optimizer, RelaxState, UnitCell
from shoal.relaxation.state import DeformedState
from shoal.state import SimState
from shoal.units import GPA

EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 6.9
ARGON = LennardJones({"Ar": (EPSILON, SIGMA)}, cutoff=CUTOFF, truncation="none")

ROUNDING = 1e-13
"""eV/A: forces below are rounding, from which ASE's L-BFGS makes NaN; there its run ends."""

ASE_OPTIMIZER: dict[type[Optimizer], Any] = {FIRE: AseFIRE, LBFGS: AseLBFGS}
ASE_FILTER: dict[type[CellFilter], Any] = {UnitCell: UnitCellFilter, Frechet: FrechetCellFilter}


def _shaken(atoms: Atoms, seed: int, strain: float = 0.03, amplitude: float = 0.12) -> Atoms:
    """Strained by a general matrix in its periodic directions, and with displaced atoms."""
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    deformation = np.eye(3) + rng.normal(0, strain, (3, 3)) * np.outer(atoms.pbc, atoms.pbc)
    moved.set_cell(moved.cell.array @ deformation, scale_atoms=True)
    moved.positions += rng.normal(0, amplitude, moved.positions.shape)
    return moved


def _cluster() -> Atoms:
    octahedron = 2.8 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    return _shaken(Atoms("Ar6", octahedron + 5, cell=[10, 11, 12]), 1)


def _left_handed() -> Atoms:
    atoms = bulk("Ar", cubic=True, a=5.15)
    atoms.cell = atoms.cell.array[[1, 0, 2]]
    atoms = _shaken(atoms, 3)
    assert np.linalg.det(atoms.cell) < 0
    # outside the cell, as an unwrapped run leaves atoms
    atoms.positions[1] += 2 * atoms.cell[0] - atoms.cell[2]
    return atoms


def _fixed_atoms() -> Atoms:
    atoms = _shaken(bulk("Ar", cubic=True, a=5.4), 4)
    atoms.set_constraint(FixAtoms([0, 2]))
    return atoms


def _fixed_com() -> Atoms:
    atoms = _shaken(bulk("Ar", cubic=True, a=5.3), 5)
    atoms.set_masses([39.9, 20.0, 5.0, 80.0])
    atoms.set_constraint(FixCom())
    return atoms


def _chain() -> Atoms:
    zigzag = [[5, 5, 0.3], [5.6, 5.1, 4.2]]
    return _shaken(Atoms("Ar2", zigzag, cell=[[10, 1, 0], [0, 12, 0], [0, 0, 7.4]], pbc=[False, False, True]), 6)


@dataclass(frozen=True)
class Case:
    """A structure, the external pressure on it (GPa), and the mask that keeps ASE off its open directions."""

    atoms: Callable[[], Atoms]
    pressure: float = 0.0
    ase_mask: Sequence[int] = (1, 1, 1, 1, 1, 1)


CASES = {
    "cluster": Case(_cluster, pressure=2.0, ase_mask=(0,) * 6),
    "triclinic crystal": Case(lambda: _shaken(bulk("Ar", cubic=True, a=5.2), 2)),
    "slab": Case(
        lambda: _shaken(fcc111("Ar", (1, 1, 3), a=5.2, vacuum=6.0, periodic=False), 7), 0.0, (1, 1, 0, 0, 0, 1)
    ),
    "pressed slab": Case(
        lambda: _shaken(fcc111("Ar", (1, 1, 2), a=5.2, vacuum=5.0, periodic=False), 8), 0.05, (1, 1, 0, 0, 0, 1)
    ),
    "left-handed crystal under pressure": Case(_left_handed, pressure=0.8),
    "crystal with fixed atoms": Case(_fixed_atoms, pressure=-0.05),
    "crystal with fixed centre of mass": Case(_fixed_com),
    "chain": Case(_chain, 0.0, (0, 0, 1, 0, 0, 0)),
}


def batch(names: Sequence[str]) -> tuple[SimState, Systems, Evaluate]:
    """The cases as one state, what does not change in it, and evaluations of it."""
    structures = [CASES[name].atoms() for name in names]
    fixed = np.concatenate([_held(atoms, FixAtoms) for atoms in structures])
    com = [any(isinstance(c, FixCom) for c in atoms.constraints) for atoms in structures]
    state = atoms_to_state(structures)
    return state, systems_of(state, fixed=torch.as_tensor(fixed), fixed_com=com), evaluator(ARGON, state)


def _held(atoms: Atoms, kind: type) -> np.ndarray:
    mask = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, kind):
            mask[constraint.index] = True
    return mask


def started(optimizer: Optimizer, state: SimState, systems: Systems, evaluate: Evaluate) -> DeformedState:
    at = evaluate(state.positions, state.cell)
    return optimizer.init(systems, RelaxState(state.positions, state.cell, at.energy, at.forces, at.virial))


def path(
    optimizer: Optimizer, state: SimState, systems: Systems, evaluate: Evaluate, n_steps: int
) -> list[DeformedState]:
    """The states after 0, 1 ... n_steps steps."""
    states = [started(optimizer, state, systems, evaluate)]
    for _ in range(n_steps):
        states.append(optimizer.step(states[-1], systems, evaluate))
    return states


@dataclass(frozen=True)
class AsePath:
    """Positions, cell, enthalpy and the largest force on the way."""

    positions: list[np.ndarray] = field(default_factory=list)
    cells: list[np.ndarray] = field(default_factory=list)
    enthalpies: list[float] = field(default_factory=list)
    fmax: list[float] = field(default_factory=list)


class AseArgon(Calculator):
    """The same potential written anew: every image in turn, and derivatives by hand."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE declares it so)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        reach = [range(-3, 4) if periodic else (0,) for periodic in self.atoms.pbc]
        shifts = np.array(list(product(*reach))) @ self.atoms.cell.array
        position = self.atoms.positions - self._wraps()
        vectors = position[None, :, None] - position[:, None, None] + shifts
        r2 = (vectors**2).sum(3)
        i, j, k = np.nonzero((r2 < CUTOFF**2) & (r2 > 0))
        vector, r2 = vectors[i, j, k], r2[i, j, k]
        s6 = (SIGMA**2 / r2) ** 3
        force = (-24 * EPSILON * (2 * s6**2 - s6) / r2)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, force)
        energy = 2 * EPSILON * (s6**2 - s6).sum()
        stress = full_3x3_to_voigt_6_stress(0.5 * vector.T @ force / self.atoms.get_volume())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "stress": stress}

    def _wraps(self) -> np.ndarray:
        fractional = np.floor(self.atoms.get_scaled_positions(wrap=False)) * self.atoms.pbc
        return fractional @ self.atoms.cell.array


def ase_path(optimizer: Optimizer, name: str, n_steps: int) -> AsePath:
    """ASE's run of a case with the same method and filter, under the pressure of the case if the filter has one."""
    cell, case = optimizer.cell, CASES[name]
    names = ("maxstep", "dt", "memory", "damping", "alpha")
    own = tuple((key, getattr(optimizer, key)) for key in names if hasattr(optimizer, key))
    if isinstance(cell, FixedCell) or not case.atoms().pbc.any():
        return _ase_path(type(optimizer), own, FixedCell, (), name, n_steps)
    mask = np.ones(6, dtype=int) if cell.strain_mask is None else np.asarray(cell.strain_mask)
    options = {
        "mask": tuple((mask * case.ase_mask).tolist()),
        "scalar_pressure": 0.0 if cell.pressure == 0.0 else case.pressure * GPA,
        "hydrostatic_strain": cell.hydrostatic_strain,
        "constant_volume": cell.constant_volume,
    }
    return _ase_path(type(optimizer), own, type(cell), tuple(options.items()), name, n_steps)


Options = tuple[tuple[str, Any], ...]


@cache
def _ase_path(
    method: type[Optimizer], own: Options, cell: type[CellFilter], options: Options, name: str, n_steps: int
) -> AsePath:
    atoms = CASES[name].atoms()
    atoms.calc = AseArgon()
    target = ASE_FILTER[cell](atoms, **dict(options)) if cell in ASE_FILTER else atoms
    run = ASE_OPTIMIZER[method](target, logfile=None, **dict(own))
    result = AsePath()
    for step in range(n_steps + 1):
        gradient = run.optimizable.get_gradient()
        run._get_gradient = lambda forces=None, known=gradient: known  # dear with a Frechet cell: once a step
        result.positions.append(atoms.positions.copy())
        result.cells.append(atoms.cell.array.copy())
        result.enthalpies.append(run.optimizable.get_value())
        result.fmax.append(run.optimizable.gradient_norm(gradient))
        if result.fmax[-1] < ROUNDING or step == n_steps:
            break
        run.step()
    return result
