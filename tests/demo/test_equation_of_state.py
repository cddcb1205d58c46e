"""The fit finds what the published equation was made from, and errors are those put in."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from shoal.demo.equation_of_state import compare_equations_of_state, fit
from shoal.engine import BatchCalculator
from shoal.potentials import LennardJones


def birch(volume: np.ndarray, energy: float, modulus: float, slope: float, equilibrium: float) -> np.ndarray:
    """F. Birch, Phys. Rev. 71, 809 (1947), energy form; modulus in eV/A^3."""
    x = (equilibrium / volume) ** (2 / 3)
    return energy + 9 * equilibrium * modulus / 16 * ((x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x))


@pytest.mark.parametrize(("volume", "modulus", "slope"), [(22.25, 77.5, 6.5), (11.8, 160.0, 4.0)])
def test_the_fit_finds_the_parameters_of_birch_s_equation(volume: float, modulus: float, slope: float) -> None:
    volumes = volume * np.linspace(0.86, 1.14, 30)
    curve = fit(volumes, birch(volumes, -49.9, modulus * GPa, slope, volume))
    found = curve.volume, curve.energy, curve.bulk_modulus, curve.slope
    assert found == pytest.approx((volume, -49.9, modulus, slope), rel=1e-4)
    np.testing.assert_allclose(curve.at(volumes), curve.energies, atol=1e-8)


@pytest.mark.parametrize("energies", [np.full(30, np.nan), np.full(30, np.inf)])
def test_energies_that_are_not_finite_have_no_fit(energies: np.ndarray) -> None:
    curve = fit(np.linspace(19, 26, 30), energies)
    assert np.isnan([curve.volume, curve.bulk_modulus]).all()


def argon(epsilon: float, sigma: float) -> BatchCalculator:
    """Interactions that reach the first shell only, so that energies and lengths scale exactly."""
    potential = LennardJones({"Ar": (epsilon, sigma)}, cutoff=1.35 * sigma, truncation="none")
    return BatchCalculator(potential, chemical_species_to_atom_type_map=True)


def labelled(a: np.ndarray, calculator: BatchCalculator) -> list[Atoms]:
    from shoal.io import atoms_to_state

    cells = [bulk("Ar", "fcc", a=length, cubic=True) for length in a]
    for atoms, energy in zip(cells, calculator(atoms_to_state(cells))["energy"].tolist(), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return cells


def test_a_model_compared_with_its_own_labels_has_no_error() -> None:
    frames = labelled(np.linspace(5.1, 5.7, 12), argon(0.1, 3.4))
    comparison = compare_equations_of_state(argon(0.1, 3.4), frames)
    assert comparison.volume_error == comparison.bulk_modulus_error == 0
    assert comparison.n_atoms == 48


def test_the_minimum_of_nearest_neighbour_lennard_jones_is_the_textbook_one() -> None:
    """fcc, 12 neighbours at d = 2^(1/6) sigma: volume v = d^3 / sqrt 2 and energy -6 eps an atom.

    B = v d2E/dv2 = (d^2 / 9 v) 6 u''(d), and the pair energy has u''(d) = 72 eps / d^2: B = 48 eps / v.
    """
    frames = labelled(np.linspace(5.36, 5.44, 15), argon(0.1, 3.4))
    labels = compare_equations_of_state(argon(0.1, 3.4), frames).labels
    d = 2 ** (1 / 6) * 3.4
    assert labels.volume == pytest.approx(d**3 / np.sqrt(2), rel=1e-4)
    assert labels.energy == pytest.approx(-0.6, rel=1e-4)
    assert labels.bulk_modulus == pytest.approx(48 * 0.1 / (d**3 / np.sqrt(2)) / GPa, rel=1e-3)


def test_errors_are_those_of_the_model() -> None:
    """A fifth more energy everywhere is a fifth more bulk modulus at the same volume."""
    frames = labelled(np.linspace(5.1, 5.7, 12), argon(0.1, 3.4))
    stiffer = compare_equations_of_state(argon(0.12, 3.4), frames)
    assert stiffer.bulk_modulus_error == pytest.approx(0.2, rel=1e-4)
    assert stiffer.volume_error == pytest.approx(0, abs=1e-6)
    larger = compare_equations_of_state(argon(0.1, 3.434), frames)
    assert larger.volume_error == pytest.approx(1.01**3 - 1, rel=2e-2)
