"""Training data arrive as they were labelled, and unusable data are refused by file and frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list

from shoal.errors import DataError
from shoal.io.labels import LabelKeys
from shoal.state import TypeMap
from shoal.training import train
from shoal.training.config import DataConfig
from shoal.training.samples import fingerprint, make_samples, read_data

Argon = Callable[..., Atoms]
CUTOFF = 4.8
ARGON = TypeMap(("Ar",), {"Ar": "Ar"})


def sample_of(atoms: Atoms):
    return make_samples([atoms], ARGON, CUTOFF, LabelKeys())[0]


def test_labels_keep_their_values_units_and_signs(argon: Argon) -> None:
    atoms = argon(0)
    sample = sample_of(atoms)
    assert float(sample.energy) == atoms.get_potential_energy()
    np.testing.assert_array_equal(sample.forces, atoms.get_forces())
    np.testing.assert_array_equal(sample.stress, atoms.get_stress(voigt=False))
    assert sample.labelled.tolist() == [True, True, True]


def test_edges_are_those_of_ase(argon: Argon) -> None:
    atoms = argon(1)
    sample = sample_of(atoms)
    expected = np.hstack([np.column_stack(neighbor_list("ij", atoms, CUTOFF)), neighbor_list("D", atoms, CUTOFF)])
    found = torch.cat([sample.edge_index.T, sample.edge_vectors], dim=1).numpy()
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-12)


def test_forces_of_fixed_atoms_are_taken_as_labelled(argon: Argon) -> None:
    atoms = argon(2)
    forces = atoms.get_forces()
    atoms.set_constraint(FixAtoms([0, 1]))
    np.testing.assert_array_equal(sample_of(atoms).forces, forces)


def test_structures_without_some_labels_say_so(argon: Argon) -> None:
    atoms = argon(3)
    del atoms.calc.results["stress"], atoms.calc.results["energy"]
    assert sample_of(atoms).labelled.tolist() == [False, True, False]


def with_label(name: str, value: Any) -> Callable[[Atoms], Atoms]:
    def change(atoms: Atoms) -> Atoms:
        atoms.calc.results[name] = value
        return atoms

    return change


def nan_force(atoms: Atoms) -> Atoms:
    atoms.calc.results["forces"][3, 1] = np.nan
    return atoms


def with_neon(atoms: Atoms) -> Atoms:
    atoms.numbers[5] = 10
    return atoms


def overlapping_cell(atoms: Atoms) -> Atoms:
    atoms.cell[2] = atoms.cell[1]
    return atoms


def without_atoms(atoms: Atoms) -> Atoms:
    del atoms[:]
    atoms.calc = None
    return atoms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_label("energy", np.nan), "label energy is not finite"),
        (nan_force, "label forces of atom 3 is not finite"),
        (with_neon, r"Ne \(system 0, atom 5\) is unknown.*type_names"),
        (overlapping_cell, ".*linearly dependent"),
    ],
)
def test_an_unusable_structure_is_named_by_file_and_frame(
    argon: Argon, tmp_path: Path, change: Callable[[Atoms], Atoms], message: str
) -> None:
    path = tmp_path / "some.xyz"
    ase.io.write(path, [argon(0), argon(1), change(argon(2))])
    with pytest.raises(DataError, match=rf"some\.xyz, frame 2.*: {message}"):
        read_data(DataConfig(train=path, val=path), ARGON, CUTOFF)


def test_a_structure_without_atoms_is_refused(argon: Argon) -> None:
    with pytest.raises(DataError, match="structure 0: it has no atoms"):
        sample_of(without_atoms(argon(0)))


@pytest.mark.parametrize("content", ["", None], ids=["empty", "missing"])
def test_empty_and_missing_files_are_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "nothing.xyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"data\.path: .*nothing\.xyz"):
        read_data(DataConfig(path=path), ARGON, CUTOFF)


def test_a_split_without_validation_data_is_refused(argon: Argon, tmp_path: Path) -> None:
    path = tmp_path / "few.xyz"
    ase.io.write(path, [argon(seed) for seed in range(3)])
    with pytest.raises(DataError, match=r"3 structures: data\.fractions\.val = 0\.1 leaves none"):
        read_data(DataConfig(path=path), ARGON, CUTOFF)


def test_a_cutoff_below_every_distance_is_refused(argon_file: Path) -> None:
    with pytest.raises(DataError, match="no two atoms of the training data are within the cutoff of 1 A"):
        read_data(DataConfig(path=argon_file), ARGON, 1.0)


def test_fractions_split_all_structures_once_and_by_the_seed(argon_file: Path) -> None:
    def parts(**settings: Any) -> list[list[str]]:
        data = read_data(DataConfig(path=argon_file, **settings), ARGON, CUTOFF)
        return [[fingerprint([sample]) for sample in part] for part in (data.train, data.val, data.test)]

    first = parts()
    assert [len(part) for part in first] == [22, 3, 3]
    assert len({hash for part in first for hash in part}) == 28
    assert parts() == first
    assert parts(seed=1) != first
    assert [len(part) for part in parts(fractions={"train": 0.25, "val": 0.25, "test": 0})] == [7, 7, 0]


@pytest.mark.parametrize("name", ["data.xyz", "data.db"])
def test_extended_xyz_and_ase_databases_give_the_same_samples(argon: Argon, tmp_path: Path, name: str) -> None:
    frames = [argon(seed) for seed in range(3)]
    ase.io.write(tmp_path / name, frames)
    data = read_data(DataConfig(train=tmp_path / name, val=tmp_path / name), ARGON, CUTOFF)
    for sample, atoms in zip(data.train, frames, strict=True):
        assert float(sample.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(sample.stress, atoms.get_stress(voigt=False), atol=1e-9)


def test_labels_that_the_loss_asks_for_must_be_somewhere(
    argon: Argon, tmp_path: Path, tiny_config: Callable[..., Any]
) -> None:
    frames = [argon(seed) for seed in range(10)]
    for atoms in frames:
        del atoms.calc.results["stress"]
    ase.io.write(tmp_path / "no_stress.xyz", frames)
    config = tiny_config(loss={"stress": 1.0})
    config["data"]["path"] = str(tmp_path / "no_stress.xyz")
    with pytest.raises(DataError, match=r"training\.loss\.stress is 1, .* train data .* data\.keys\.stress"):
        train(config)


def test_molecules_and_single_atoms_are_samples_too() -> None:
    water = TypeMap(("H", "O"), {"H": "H", "O": "O"})
    samples = make_samples([molecule("H2O"), Atoms("O")], water, CUTOFF, LabelKeys())
    assert [sample.n_edges for sample in samples] == [6, 0]
    assert samples[0].atom_types.tolist() == [1, 0, 0]
