"""The shipped silicon data obeys its own physics, and the script that made it draws what it says."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.calculators.fd import calculate_numerical_forces
from ase.eos import EquationOfState
from ase.io import read
from ase.neighborlist import neighbor_list
from scipy.interpolate import CubicSpline

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src/shoal/demo/data"
FAMILIES = {"strained": 30, "rattled": 35, "hot": 35, "vacancy": 20}


@pytest.fixture(scope="module")
def training():
    return read(DATA / "silicon.xyz", index=":")


@pytest.fixture(scope="module")
def eos():
    return read(DATA / "silicon_eos.xyz", index=":")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_silicon_data", ROOT / "examples/make_silicon_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_families_have_their_counts_and_sizes(training):
    assert Counter(atoms.info["config_type"] for atoms in training) == FAMILIES
    for atoms in training:
        assert len(atoms) == (63 if atoms.info["config_type"] == "vacancy" else 64)
        assert set(atoms.symbols) == {"Si"}
        assert atoms.pbc.all()


def test_every_stretch_of_the_file_is_representative(training):
    for start in range(0, 120, 24):
        shares = Counter(atoms.info["config_type"] for atoms in training[start : start + 24])
        for family, count in FAMILIES.items():
            assert abs(shares[family] - count / 5) <= 2


def test_labels_are_whole_and_forces_balance(training, eos):
    for atoms in training + eos:
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        assert np.isfinite(energy)
        assert np.isfinite(forces).all()
        assert np.isfinite(stress).all()
        assert forces.shape == (len(atoms), 3)
        assert np.abs(forces.sum(axis=0)).max() < 1e-5
        assert neighbor_list("d", atoms, 3.0).min() > 1.9


def test_disorder_costs_energy(training, eos):
    perfect = min(atoms.get_potential_energy() / 64 for atoms in eos)
    assert all(atoms.get_potential_energy() / len(atoms) > perfect for atoms in training)


def test_stress_is_the_slope_of_the_equation_of_state(eos):
    volume = np.array([atoms.get_volume() for atoms in eos])
    slope = CubicSpline(volume, [atoms.get_potential_energy() for atoms in eos])(volume, 1)
    stress = np.array([atoms.get_stress()[:3].mean() for atoms in eos])
    assert np.abs(slope - stress)[1:-1].max() < 0.01 * np.abs(stress).max()


def test_equation_of_state_is_isotropic_and_unseen_in_training(training, eos):
    assert len(eos) == 30
    for atoms in eos:
        assert np.abs(atoms.get_forces()).max() < 1e-4
        np.testing.assert_allclose(atoms.cell.array, atoms.cell[0, 0] * np.eye(3), rtol=0, atol=1e-8)
    assert min(np.abs(atoms.get_forces()).max() for atoms in training) > 0.01


def test_training_volumes_enclose_the_equation_of_state(training, eos):
    seen = [atoms.get_volume() for atoms in training if atoms.info["config_type"] == "strained"]
    volume = [atoms.get_volume() for atoms in eos]
    assert min(seen) < min(volume)
    assert max(seen) > max(volume)


def test_minimum_is_the_lattice_constant_of_the_script(script, eos):
    volume, _, _ = EquationOfState(
        [atoms.get_volume() for atoms in eos],
        [atoms.get_potential_energy() for atoms in eos],
        eos="birchmurnaghan",
    ).fit()
    assert abs(np.cbrt(volume) / 2 / script.LATTICE_CONSTANT - 1) < 0.002


def test_keating_forces_are_the_slope_of_its_energy(script):
    atoms = script.crystal(0.01)
    atoms.calc = script.Keating(atoms)
    assert abs(atoms.get_potential_energy()) < 1e-20
    script.rattle(atoms, np.random.default_rng(1), 0.1)
    expected = calculate_numerical_forces(atoms, 1e-4, iatoms=[0, 17])
    np.testing.assert_allclose(atoms.get_forces()[[0, 17]], expected, rtol=0, atol=1e-6)


def test_keating_bulk_modulus_is_the_published_formula(script):
    """C11 + 2 C12 = (3 alpha + beta) / 4a, a a quarter of the lattice constant (Keating 1966)."""
    calculator = script.Keating(script.crystal())
    step = 1e-3
    energies = []
    for strain in (-step, step):
        atoms = script.crystal(strain)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    measured = sum(energies) / (9 * step**2 * script.crystal().get_volume())
    expected = (3 * script.Keating.stretch + script.Keating.bend) / (3 * script.LATTICE_CONSTANT)
    assert abs(measured / expected - 1) < 1e-4
    assert 90 < measured / units.GPa < 100
