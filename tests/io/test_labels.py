"""Labels are found where files put them, and unusable ones are named."""

from __future__ import annotations

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from shoal.errors import DataError
from shoal.io import LabelKeys, read, read_labels

STRESS = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])


def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize("stress", [STRESS, STRESS.ravel(), np.arange(1.0, 7.0)], ids=["3x3", "9", "voigt"])
@pytest.mark.parametrize("place", ["calculator", "info and arrays"])
def test_labels_come_from_the_calculator_or_info_and_arrays(place: str, stress: np.ndarray) -> None:
    atoms, forces = crystal(), np.arange(12.0).reshape(4, 3)
    if place == "calculator":
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results.update(energy=-3.5, forces=forces, stress=stress)
    else:
        atoms.info.update(energy=-3.5, stress=stress)
        atoms.arrays["forces"] = forces
    labels = read_labels(atoms, 0)
    assert labels.energy == -3.5
    np.testing.assert_array_equal(labels.forces, forces)
    np.testing.assert_array_equal(labels.stress, STRESS)


@pytest.mark.parametrize("name", ["data.xyz", "data.traj", "data.db"])
def test_labels_survive_the_formats_they_are_kept_in(tmp_path: Path, name: str) -> None:
    atoms = crystal()
    atoms.calc = LennardJones(epsilon=0.01, sigma=3.4, rc=6.0)
    expected = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
    ase.io.write(tmp_path / name, atoms)
    labels = read_labels(next(read(tmp_path / name)), 0)
    assert labels.energy == pytest.approx(expected[0], abs=1e-7)
    np.testing.assert_allclose(labels.forces, expected[1], atol=1e-7)
    np.testing.assert_allclose(labels.stress, expected[2], atol=1e-7)


def test_labels_of_other_names_are_found_in_the_values_of_a_database_row(tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "data.db") as database:
        database.write(crystal(), key_value_pairs={"dft_energy": -7.25})
    assert read_labels(next(read(tmp_path / "data.db")), 0, LabelKeys(energy="dft_energy")).energy == -7.25


def test_what_is_not_there_is_none() -> None:
    labels = read_labels(crystal(), 0)
    assert (labels.energy, labels.forces, labels.stress) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("energy", np.nan, "label energy is not finite"),
        ("energy", [1.0, 2.0], r"label energy has shape \(2,\), needs \(\)"),
        ("forces", np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 0.0), "label forces of atom 2 is not finite"),
        ("stress", np.arange(9.0), "label stress is not symmetric"),
        ("energy", "low", "label energy is no number: 'low'"),
        ("stress", np.full(6, np.inf), "label stress is not finite"),
        ("stress", np.zeros(5), r"shape \(5,\), needs \(6,\) or \(9,\) or \(3, 3\)"),
    ],
)
def test_unusable_labels_are_named_with_their_structure(key: str, value: object, message: str) -> None:
    atoms = crystal()
    atoms.info[key] = value
    with pytest.raises(DataError, match=f"structure 7: .*{message}"):
        read_labels(atoms, 7)


def test_a_stress_without_a_volume_is_refused() -> None:
    atoms = Atoms("Ar", info={"stress": np.zeros(6)})
    with pytest.raises(DataError, match="structure 0: label stress: the cell has no volume"):
        read_labels(atoms, 0)
