"""Structures stream from any file ASE reads; what cannot be read is named."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from shoal.errors import InputError
from shoal.io import atoms_to_state, read


def crystal(k: int) -> Atoms:
    """A structure that can be told from others by its lattice constant."""
    atoms = bulk("Si", a=5.0 + k)
    atoms.info["number"] = k
    return atoms


def numbers(frames: list[Atoms]) -> list[int]:
    return [atoms.info["number"] for atoms in frames]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ase.io.write(tmp_path / "b.xyz", [crystal(2), crystal(3)], format="extxyz")
    ase.io.write(tmp_path / "a.xyz", [crystal(0), crystal(1)], format="extxyz")
    (tmp_path / "deep").mkdir()
    ase.io.write(tmp_path / "deep" / "c.xyz", crystal(4), format="extxyz")
    return tmp_path


def test_many_files_come_in_the_order_given(folder: Path) -> None:
    frames = list(read([folder / "b.xyz", str(folder / "a.xyz")]))
    assert numbers(frames) == [2, 3, 0, 1]
    assert frames[3].origin == f"{folder / 'a.xyz'}, frame 1"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "expected"), [("*.xyz", [0, 1, 2, 3]), ("**/*.xyz", [0, 1, 2, 3, 4]), ("[b].xyz", [2, 3])]
)
def test_patterns_are_expanded_and_sorted(folder: Path, pattern: str, expected: list[int]) -> None:
    assert numbers(list(read(str(folder / pattern)))) == expected
    assert numbers(list(read(folder / pattern))) == expected


@pytest.mark.parametrize(("index", "expected"), [("0", [0]), ("-1", [1]), ("1:", [1]), ("::-1", [1, 0])])
def test_an_index_chooses_frames(folder: Path, index: str, expected: list[int]) -> None:
    assert numbers(list(read(folder / "a.xyz", index=index))) == expected


def test_structures_stream(folder: Path) -> None:
    path = folder / "a.xyz"
    path.write_text(path.read_text() + "2\nbroken\nSi 0 0\n")
    frames = read(path)
    assert numbers([next(frames), next(frames)]) == [0, 1]
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}: cannot read frame 2"):
        next(frames)


def test_compressed_files_and_names_with_odd_characters(folder: Path) -> None:
    text = (folder / "a.xyz").read_bytes()
    with gzip.open(folder / "z.xyz.gz", "wb") as file:
        file.write(text)
    odd = folder / "run@300K [1] 50%.xyz"
    odd.write_bytes(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert numbers(list(read([folder / "z.xyz.gz", odd]))) == [0, 1, 0, 1]


def test_other_formats_are_recognised_or_named(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "POSCAR", crystal(1), format="vasp")
    ase.io.write(tmp_path / "unnamed", crystal(1), format="cif")
    for path, format in ((tmp_path / "POSCAR", None), (tmp_path / "unnamed", "cif")):
        (atoms,) = read(path, format=format)
        np.testing.assert_allclose(atoms.cell.volume, crystal(1).cell.volume)


@pytest.mark.parametrize("name", ["rows.db", "rows.json"])
def test_an_ase_database_keeps_labels_pairs_and_data(tmp_path: Path, name: str) -> None:
    with ase.db.connect(tmp_path / name) as database:
        for k in range(3):
            atoms = molecule("H2O")
            atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * k, forces=np.full((3, 3), k))
            database.write(atoms, key_value_pairs={"number": k, "config_type": "hot"}, data={"path": np.arange(k)})
    frames = list(read(tmp_path / name))
    assert numbers(frames) == [0, 1, 2]
    assert [atoms.get_potential_energy() for atoms in frames] == [0.0, -1.0, -2.0]
    assert frames[1].get_forces().tolist() == [[1.0] * 3] * 3
    assert frames[2].info["config_type"] == "hot"
    assert frames[2].info["path"].tolist() == [0, 1]
    for index, expected in (("1", [1]), ("-1", [2]), ("1:", [1, 2]), ("::2", [0, 2])):
        assert numbers(list(read(tmp_path / name, index=index))) == expected


def test_nothing_given_or_found_is_refused_by_name(folder: Path) -> None:
    for paths, named in (
        ([], "no files given"),
        (folder / "missing.xyz", "file .*missing.xyz' does not exist"),
        ([folder / "a.xyz", folder / "missing.xyz"], "missing.xyz' does not exist"),
        (str(folder / "*.cif"), r"no file matches .*\*\.cif"),
    ):
        with pytest.raises(InputError, match=named):
            next(read(paths))


@pytest.mark.parametrize("name", ["empty.xyz", "empty.cif", "POSCAR", "empty.db", "empty"])
def test_an_empty_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / name))}: "):
        list(read(tmp_path / name))


def test_a_file_without_the_frames_wanted_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"a\.xyz: holds no structure of \[5:\]"):
        list(read(folder / "a.xyz", index="5:"))


@pytest.mark.parametrize("content", ["not a structure at all", "3\n\nH 0 0 0\nH 0 0\n", "\x00\x01\x02"])
def test_a_file_that_is_no_structure_is_refused_with_the_frame(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.xyz").write_text(content)
    with pytest.raises(InputError, match=r"bad\.xyz: cannot read frame 0"):
        list(read(tmp_path / "bad.xyz"))


@pytest.mark.parametrize(("kind", "named"), [("nan", "position of atom 1 is not finite"), ("cell", "dependent")])
def test_a_broken_structure_is_named_with_its_file_and_frame(folder: Path, kind: str, named: str) -> None:
    bad = crystal(9)
    if kind == "nan":
        bad.positions[1, 0] = np.nan
    else:
        bad.set_cell([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    ase.io.write(folder / "bad.xyz", [crystal(0), bad], format="extxyz")
    with pytest.raises(InputError, match=rf"structure 3 \(.*bad\.xyz, frame 1\): .*{named}"):
        atoms_to_state(list(read([folder / "a.xyz", folder / "bad.xyz"])))
