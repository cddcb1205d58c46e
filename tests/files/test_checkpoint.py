"""Checkpoints open without running code; what is damaged or foreign is named."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.errors import ModelFileError
from shoal.files import read_checkpoint


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "shoal_checkpoint": 1,
        "architecture": "nequip",
        "model_config": {"cutoff": 4.0},
        "type_names": ["a", "b"],
        "chemical_species_to_atom_type_map": {"Si": "a"},
        "weights": {"w": torch.arange(1000.0)},
        "averaged_weights": {"w": torch.ones(1000)},
        "statistics": {},
        "provenance": {},
        "reference_structures": [],
        "config": {},
        "training": {"clock": {"epoch": 3}},
    }


@pytest.fixture
def path(content: dict[str, Any], tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def test_averaged_weights_are_read_unless_the_last_ones_are_asked_for(path: Path) -> None:
    averaged, last = read_checkpoint(path), read_checkpoint(path, averaged=False)
    assert torch.equal(averaged.weights["w"], torch.ones(1000))
    assert torch.equal(last.weights["w"], torch.arange(1000.0))
    assert (averaged.type_names, averaged.species_map) == (("a", "b"), {"Si": "a"})
    assert averaged.raw["training"]["clock"]["epoch"] == 3


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(1000.0).numpy().tobytes()) + 2001] ^= 4
    path.write_bytes(data)


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"shoal_checkpoint": 1}))


def other_dictionary(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


class Planted:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("planted-by-a-checkpoint"),)


def code(path: Path) -> None:
    torch.save({"shoal_checkpoint": 1, "weights": Planted()}, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no such file"),
        (truncate, "truncated, damaged or no checkpoint"),
        (flip_a_bit, "damaged: the checksum of .* is wrong"),
        (foreign_zip, "no Shoal checkpoint"),
        (bare_pickle, "truncated, damaged or no checkpoint"),
        (other_dictionary, "no Shoal checkpoint"),
        (code, "no Shoal checkpoint"),
    ],
)
def test_damaged_and_foreign_files_are_refused_by_name(
    path: Path, damage: Callable[[Path], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    damage(path)
    with pytest.raises(ModelFileError, match=rf"some\.ckpt: {message}"):
        read_checkpoint(path)
    assert not Path("planted-by-a-checkpoint").exists()


@pytest.mark.parametrize("key", ["weights", "averaged_weights", "type_names", "training"])
def test_a_missing_part_is_named(content: dict[str, Any], tmp_path: Path, key: str) -> None:
    del content[key]
    torch.save(content, tmp_path / "part.ckpt")
    with pytest.raises(ModelFileError, match=f"{key} is missing"):
        read_checkpoint(tmp_path / "part.ckpt")


def test_another_layout_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save({**content, "shoal_checkpoint": 7}, tmp_path / "new.ckpt")
    with pytest.raises(ModelFileError, match="layout 7; this version of Shoal reads 1"):
        read_checkpoint(tmp_path / "new.ckpt")
