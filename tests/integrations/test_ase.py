"""The ASE calculator gives what ASE's own calculators give, with a neighbour list it rarely rebuilds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from shoal.integrations.ase import ShoalCalculator
from shoal.potentials import LennardJones


def argon(skin: float = 0.5) -> ShoalCalculator:
    return ShoalCalculator(LennardJones({"Ar": (0.0104, 3.405)}, 8.0, "shift"), skin=skin)


def reference() -> AseLennardJones:
    return AseLennardJones(epsilon=0.0104, sigma=3.405, rc=8.0, smooth=False)


def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.26, cubic=True) * (2, 2, 1)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + 0.03 * np.array([[0, 1, 0], [0, 0.5, 1], [0, 0, 0]])), scale_atoms=True
    )
    return atoms


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
def test_equals_ases_own_lennard_jones(pbc: tuple[bool, bool, bool]) -> None:
    ours, theirs = crystal(), crystal()
    ours.pbc = theirs.pbc = pbc
    ours.calc, theirs.calc = argon(), reference()
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-12)
    np.testing.assert_allclose(ours.get_potential_energies(), theirs.get_potential_energies(), atol=1e-12)
    assert ours.get_potential_energies().sum() == pytest.approx(ours.get_potential_energy(), abs=1e-12)
    if all(pbc):
        np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-13)


def test_a_molecule_has_no_stress_but_everything_else() -> None:
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [3.8, 0, 0]], calculator=argon())
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_compiled_file_and_ases_finite_differences_agree(compiled_water: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    atoms.set_cell([[4.2, 0, 0], [0.8, 4.0, 0], [0.1, -0.6, 4.4]])
    atoms.pbc = True
    atoms.calc = ShoalCalculator(compiled_water)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


def test_dynamics_with_skin_equal_those_without_and_rebuild_less() -> None:
    ends, rebuilds = [], []
    for skin in (0.0, 1.0):
        atoms = crystal()
        atoms.calc = argon(skin)
        atoms.set_velocities(np.random.default_rng(0).normal(0, 2e-3, (len(atoms), 3)))
        VelocityVerlet(atoms, 4 * units.fs).run(60)
        ends.append(atoms.positions)
        rebuilds.append(atoms.calc.n_rebuilds)
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-10)
    assert rebuilds[1] < rebuilds[0] / 3


def test_relaxation_follows_ases_calculator_step_for_step() -> None:
    paths = []
    for calculator in (argon(), reference()):
        atoms = crystal()
        atoms.calc = calculator
        FIRE(atoms, logfile=None).run(fmax=1e-3, steps=25)
        paths.append(atoms.positions)
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-9)


def test_a_changed_cell_or_composition_renews_the_list() -> None:
    atoms = crystal()
    atoms.calc = argon()
    atoms.get_potential_energy()
    atoms.set_cell(atoms.cell.array * 0.8, scale_atoms=True)
    other = crystal()
    other.set_cell(other.cell.array * 0.8, scale_atoms=True)
    other.calc = reference()
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-10)
    del atoms[0]
    del other[0]
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-10)


def test_a_keyword_it_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError, match="map"):
        ShoalCalculator(LennardJones({"Ar": (0.0104, 3.405)}, 8.0, "shift"), map=True)  # type: ignore[call-arg]
