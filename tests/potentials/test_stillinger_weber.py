"""Stillinger-Weber silicon against the published lattice constant, elastic constants, vacancy and phonons.

Values of LAMMPS' Si.sw parameters: LAMMPS, phonopy, and E. R. Cowley, Phys. Rev. Lett. 60, 2379 (1988).
"""

from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from shoal.contract import QUANTITIES
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import StillingerWeber
from shoal.testing import close

A0, EPSILON = 5.4309498, 2.1683
GPA = ase.units.GPa


def evaluate(structures: Atoms | list[Atoms]) -> dict[str, np.ndarray]:
    state = atoms_to_state(structures)
    potential = StillingerWeber()
    values = potential(state, neighbor_list(state, potential.cutoff), QUANTITIES)
    return {name: value.numpy() for name, value in values.items()}


def test_the_diamond_lattice_has_the_published_constant_and_energy() -> None:
    crystal = evaluate(bulk("Si", a=A0))
    close(crystal["energy"] / 2, [-2 * EPSILON], 1e-7, scale=1)
    below, above = evaluate([bulk("Si", a=A0 + da) for da in (-1e-5, 1e-5)])["stress"][:, 0, 0]
    without_stress = A0 - 1e-5 * (above + below) / (above - below)
    close(without_stress, A0, 5e-8, scale=1)


def strained(strain: np.ndarray, offset: np.ndarray | float = 0.0) -> Atoms:
    """The primitive cell under a strain, its second atom moved by `offset`."""
    atoms = bulk("Si", a=A0)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions[1] += offset
    return atoms


def relaxed(strain: np.ndarray) -> Atoms:
    """The second atom where its force vanishes, by Newton's method."""
    offset = np.zeros(3)
    for _ in range(4):
        force = evaluate(strained(strain, offset))["forces"][1]
        step = 1e-4
        probes = [strained(strain, offset + sign * step * axis) for axis in np.eye(3) for sign in (1, -1)]
        forces = evaluate(probes)["forces"].reshape(3, 2, 2, 3)[:, :, 1]
        stiffness = -(forces[:, 0] - forces[:, 1]) / (2 * step)
        offset = offset + np.linalg.solve(stiffness, force)
    close(evaluate(strained(strain, offset))["forces"], np.zeros((2, 3)), 1e-10)
    return strained(strain, offset)


def stress_slope(direction: np.ndarray, *, relax: bool) -> np.ndarray:
    """d stress / d strain along a strain, GPa."""
    step = 1e-4
    make = relaxed if relax else strained
    forward, back = evaluate([make(step * direction), make(-step * direction)])["stress"]
    return (forward - back) / (2 * step) / GPA


UNIAXIAL = np.diag([1.0, 0.0, 0.0])
SHEAR = np.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])


def test_elastic_constants_are_the_published_ones() -> None:
    uniaxial = stress_slope(UNIAXIAL, relax=True)
    close(uniaxial[0, 0], 151.42, 0.01, scale=1)
    close(uniaxial[1, 1], 76.42, 0.01, scale=1)
    close(stress_slope(SHEAR, relax=True)[1, 2], 56.45, 0.01, scale=1)
    close(stress_slope(SHEAR, relax=False)[1, 2], 109.76, 0.01, scale=1)
    close(stress_slope(np.eye(3), relax=False)[0, 0] / 3, 101.42, 0.01, scale=1)


def test_the_unrelaxed_vacancy_costs_the_cohesive_energy_and_feels_no_force() -> None:
    crystal = bulk("Si", a=A0, cubic=True).repeat(3)
    vacancy = crystal.copy()
    del vacancy[100]
    values = evaluate([crystal, vacancy])
    n = len(crystal)
    close(values["energy"][1] - (n - 1) / n * values["energy"][0], 4.3366, 1e-4, scale=1)
    close(values["forces"], np.zeros((2 * n - 1, 3)), 1e-6)


def frequencies(crystal: Atoms, mass: float = 28.0855) -> np.ndarray:
    """Of all modes of the periodic cell, THz, ascending."""
    n, step = 3 * len(crystal), 1e-4
    probes = []
    for k in range(n):
        for sign in (1, -1):
            moved = crystal.copy()
            moved.positions.flat[k] += sign * step
            probes.append(moved)
    forces = evaluate(probes)["forces"].reshape(n, 2, n)
    dynamical = -(forces[:, 0] - forces[:, 1]) / (2 * step) / mass
    squared = np.linalg.eigvalsh((dynamical + dynamical.T) / 2)
    close(squared[:3], np.zeros(3), 1e-6)
    angular = np.sqrt(squared[3:] * ase.units._e / ase.units._amu) * 1e10
    return angular / (2 * np.pi) / 1e12


def test_phonons_at_gamma_are_the_published_ones() -> None:
    close(frequencies(bulk("Si", a=A0)), [17.8325] * 3, 1e-4, scale=1)


def test_phonons_at_x_are_the_published_ones() -> None:
    """The cubic cell holds Gamma and its three X points."""
    x_point = [6.6518] * 2 + [12.9935] * 2 + [15.6286] * 2
    close(frequencies(bulk("Si", a=A0, cubic=True)), np.sort(x_point * 3 + [17.8325] * 3), 2e-4, scale=1)


@pytest.mark.parametrize("angle", [60.0, 90.0, 109.4712206, 150.0])
def test_a_trimer_has_the_energy_of_the_formula(angle: float) -> None:
    """Two bonds of 2.4 A at an angle; the ends are apart or, at 60 degrees, bonded too."""
    sigma, a, lam, gamma, big_a, big_b = 2.0951, 1.8, 21.0, 1.2, 7.049556277, 0.6022245584
    bond = 2.4
    theta = np.radians(angle)
    ends = bond * np.array([[1, 0, 0], [np.cos(theta), np.sin(theta), 0]])

    def pair(r: float) -> float:
        if r >= a * sigma:
            return 0.0
        return big_a * EPSILON * (big_b * (sigma / r) ** 4 - 1) * np.exp(1 / (r / sigma - a))

    def triple(cosine: float, r1: float, r2: float) -> float:
        if max(r1, r2) >= a * sigma:
            return 0.0
        decay = np.exp(gamma / (r1 / sigma - a) + gamma / (r2 / sigma - a))
        return lam * EPSILON * (cosine + 1 / 3) ** 2 * decay

    far = float(np.linalg.norm(ends[0] - ends[1]))
    at_ends = far / 2 / bond  # cosine of the angle at either end
    atomic = [
        pair(bond) + triple(np.cos(theta), bond, bond),
        *[(pair(bond) + pair(far)) / 2 + triple(at_ends, bond, far)] * 2,
    ]
    values = evaluate(Atoms("Si3", positions=[[0, 0, 0], *ends]))
    close(values["atomic_energy"], atomic, 1e-13)
