"""Lennard-Jones against published lattice sums and reference configurations, ASE, and its own formula."""

from __future__ import annotations

from math import pi, sqrt
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones as AseLennardJones
from scipy.optimize import minimize_scalar

from shoal.contract import QUANTITIES
from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LennardJones
from shoal.testing import close

DATA = Path(__file__).parent / "data"
DIGITS = 1e-6  # what the eight digits of the coordinates leave of the energy


def reduced(cutoff: float, truncation: str = "none") -> LennardJones:
    """sigma = epsilon = 1, the particle named Ar."""
    return LennardJones({"Ar": (1.0, 1.0)}, cutoff, truncation)  # type: ignore[arg-type]


def evaluate(potential: LennardJones, atoms: Atoms) -> dict[str, torch.Tensor]:
    state = atoms_to_state(atoms)
    return potential(state, neighbor_list(state, potential.cutoff), QUANTITIES)


def energy_per_atom(atoms: Atoms, cutoff: float) -> float:
    return float(evaluate(reduced(cutoff), atoms)["energy"][0]) / len(atoms)


def fcc(a: float) -> Atoms:
    return bulk("Ar", "fcc", a=a)


def hcp(a: float) -> Atoms:
    return bulk("Ar", "hcp", a=a, c=a * sqrt(8 / 3))


def tail(density: float, cutoff: float) -> float:
    """Energy per atom beyond the cutoff in a uniform medium."""
    return 8 / 3 * pi * density * (cutoff**-9 / 3 - cutoff**-3)


@pytest.mark.parametrize(
    ("cutoff", "a", "energy"), [(2.5, 1.549603, -8.099621), (3.0, 1.546379, -8.305027), (4.0, 1.543679, -8.481120)]
)
def test_truncated_fcc_has_the_published_minimum(cutoff: float, a: float, energy: float) -> None:
    shells = {2.5: 0.012, 3.0: 0.005, 4.0: 0.004}[cutoff]  # no shell crosses the cutoff within this of a
    found = minimize_scalar(
        lambda x: energy_per_atom(fcc(x), cutoff), bounds=(a - shells, a + shells), options={"xatol": 1e-9}
    )
    close(found.x, a, 1e-6)
    close(found.fun, energy, 1e-6, scale=1)
    pressure = evaluate(reduced(cutoff), fcc(found.x))["stress"]
    close(pressure, np.zeros((1, 3, 3)), 1e-5)


@pytest.mark.parametrize(("cutoff", "energy"), [(2.5, -8.091960), (3.0, -8.302350), (4.0, -8.480664)])
def test_truncated_fcc_at_a_fixed_lattice_constant(cutoff: float, energy: float) -> None:
    close(energy_per_atom(fcc(1.5418), cutoff), energy, 1e-6, scale=1)


def test_fcc_and_hcp_reach_the_lattice_sums() -> None:
    """A12, A6 of Kittel and of the theta-function sums; hcp lies 0.00087 below fcc."""
    a12, a6 = 12.1318801965446, 14.4539210437445
    distance = (2 * a12 / a6) ** (1 / 6)
    density, cutoff = sqrt(2) / distance**3, 24.0
    close(distance, 1.09017295814, 1e-10)
    cubic = energy_per_atom(fcc(sqrt(2) * distance), cutoff) + tail(density, cutoff)
    close(cubic, -a6 * a6 / (2 * a12), 2e-6, scale=1)
    hexagonal = energy_per_atom(hcp(distance), cutoff) + tail(density, cutoff)
    expected = 2 * (12.132293768711 * distance**-12 - 14.454897093822 * distance**-6)
    close(hexagonal, expected, 2e-6, scale=1)
    close(hexagonal - cubic, -0.00087, 2e-6, scale=1)


def test_the_lammps_benchmark_starts_at_its_published_energy() -> None:
    """bench/in.lj: fcc of density 0.8442, cutoff 2.5 unshifted; E_pair and virial part of the pressure at step 0."""
    values = evaluate(reduced(2.5), bulk("Ar", "fcc", a=(4 / 0.8442) ** (1 / 3), cubic=True).repeat(5))
    n = 500
    close(values["energy"] / n, [-6.7733681], 1e-7, scale=1)
    kinetic = 0.8442 * 1.44 * (32000 - 1) / 32000
    pressure = kinetic - float(values["stress"][0].diagonal().mean())
    close(pressure, -5.0197073, 1e-6, scale=1)


@pytest.mark.parametrize(
    ("cutoff", "energy", "digits", "virial"),
    [(3.0, -16.790321304625856, DIGITS, -46.249), (4.0, -17.060, 1e-3, -47.869)],
)
def test_nist_configuration_4(cutoff: float, energy: float, digits: float, virial: float) -> None:
    values = evaluate(reduced(cutoff), ase.io.read(DATA / "nist_lj_config4.xyz"))
    close(values["energy"], [energy], digits, scale=1)
    close(values["virial"][0].trace(), virial, 1e-3, scale=1)


def test_nist_triclinic_configuration_3() -> None:
    values = evaluate(reduced(3.0), ase.io.read(DATA / "nist_lj_triclinic3.xyz"))
    close(values["energy"], [-505.78567945268367], DIGITS, scale=1)


def rattled(atoms: Atoms) -> Atoms:
    atoms.positions += np.random.default_rng(0).normal(0, 0.15, (len(atoms), 3))
    return atoms


def _open_slab() -> Atoms:
    slab = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 2, 1))
    slab.pbc = (True, True, False)
    slab.cell[2] = 0
    return slab


@pytest.mark.parametrize(
    "make",
    [
        lambda: bulk("Ar", "fcc", a=5.3, cubic=True),
        lambda: bulk("Ar", "hcp", a=3.7, c=6.1),
        lambda: Atoms("Ar12", positions=3.6 * np.argwhere(np.ones((3, 2, 2)))),
        _open_slab,
    ],
    ids=["fcc", "hcp", "cluster", "slab"],
)
def test_shifted_equals_ase(make: object) -> None:
    """ASE's LennardJones subtracts the energy at its cutoff."""
    epsilon, sigma, cutoff = 0.4, 3.4, 8.1
    atoms = rattled(make())  # type: ignore[operator]
    values = evaluate(LennardJones({"Ar": (epsilon, sigma)}, cutoff, "shift"), atoms)
    atoms.calc = AseLennardJones(epsilon=epsilon, sigma=sigma, rc=cutoff)
    close(values["energy"] / len(atoms), [atoms.get_potential_energy() / len(atoms)], 1e-12)
    close(values["atomic_energy"], atoms.get_potential_energies(), 1e-12)
    close(values["forces"], atoms.get_forces(), 1e-12)
    if atoms.cell.volume:
        close(values["stress"][0], atoms.get_stress(voigt=False), 1e-12)


def dimer(distance: float, symbols: str = "Ar2") -> Atoms:
    return Atoms(symbols, positions=[[0, 0, 0], [0, distance, 0]])


@pytest.mark.parametrize("distance", [2.9, 3.3, 4.0, 6.1])
def test_parameters_of_two_species_mix_by_lorentz_and_berthelot(distance: float) -> None:
    parameters = {"Kr": (0.0140, 3.65), "Ar": (0.0104, 3.40)}
    potential = LennardJones(parameters, 7.0, "none")
    for first in parameters:
        for second in parameters:
            (e1, s1), (e2, s2) = parameters[first], parameters[second]
            epsilon, x = sqrt(e1 * e2), ((s1 + s2) / 2 / distance) ** 6
            values = evaluate(potential, dimer(distance, first + second))
            close(values["energy"], [4 * epsilon * (x * x - x)], 1e-14)
            close(values["atomic_energy"], [2 * epsilon * (x * x - x)] * 2, 1e-14)
            close(values["forces"][1], [0, 24 * epsilon * (2 * x * x - x) / distance, 0], 1e-13)


@pytest.mark.parametrize("start", [None, 1.9, 2.4])
def test_the_switch_is_twice_continuously_differentiable_and_leaves_the_core_alone(start: float | None) -> None:
    cutoff = 2.5
    potential = LennardJones({"Ar": (1.0, 1.0)}, cutoff, "switch", switch_start=start)
    begin = 0.8 * cutoff if start is None else start
    plain = reduced(cutoff)

    def curvature(r: float, step: float) -> float:
        """Second derivative from the forces on one side, sign of step."""
        a, b = (float(evaluate(potential, dimer(x))["forces"][1, 1]) for x in (r, r + step))
        return -(b - a) / step

    for r in (begin, cutoff):
        jump = abs(curvature(r, 1e-7) - curvature(r, -1e-7))
        assert jump < 1e-3
    for r in (0.95, 1.2, begin - 1e-9):
        for name in ("energy", "forces"):
            close(evaluate(potential, dimer(r))[name], evaluate(plain, dimer(r))[name], 1e-13)
    middle = (begin + cutoff) / 2
    close(evaluate(potential, dimer(middle))["energy"], evaluate(plain, dimer(middle))["energy"] / 2, 1e-12)


def test_types_need_not_be_elements() -> None:
    potential = LennardJones({"core": (1.0, 2.0), "Ar": (2.0, 3.0)}, 6.0)
    assert potential.type_names == ("core", "Ar")
    assert potential.species_map == {"Ar": "Ar"}
    types = potential.type_map({"Ne": "core"})
    atoms = dimer(2.2, "Ne2")
    state = atoms_to_state(atoms)
    values = potential(state, neighbor_list(state, 6.0), atom_types=types(state))
    close(values["energy"], evaluate(LennardJones({"Ne": (1.0, 2.0)}, 6.0), atoms)["energy"], 1e-14)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (({}, 3.0), "at least one species"),
        (({"Ar": (-1.0, 1.0)}, 3.0), "Ar: epsilon must not be negative"),
        (({"Ar": (1.0, 0.0)}, 3.0), "Ar: .* sigma be positive"),
        (({"Ar": (float("nan"), 1.0)}, 3.0), "Ar: epsilon"),
        (({"Ar": (1.0, 1.0)}, 0.0), "0 < switch_start < cutoff"),
        (({"Ar": (1.0, 1.0)}, 3.0, "switch", 3.5), "0 < switch_start < cutoff, got 3.5 and 3.0"),
        (({"Ar": (1.0, 1.0)}, 3.0, "cosine"), "none, shift or switch, got 'cosine'"),
    ],
)
def test_wrong_parameters_are_refused(arguments: tuple, named: str) -> None:
    with pytest.raises(InputError, match=named):
        LennardJones(*arguments)


def test_water_is_no_argon() -> None:
    with pytest.raises(InputError, match=r"O \(system 0, atom 0\)"):
        evaluate(reduced(3.0), molecule("H2O"))
