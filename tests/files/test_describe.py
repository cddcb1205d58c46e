"""describe says what every kind of model file is, without running it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shoal.errors import ModelFileError
from shoal.files import describe
from shoal.potentials import LearnedPotential


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_package(water_package: Path, water: LearnedPotential) -> None:
    content = describe(water_package)
    assert content["kind"] == "Shoal package"
    assert content["sha256"] == sha256(water_package)
    assert content["type_names"] == ("hydrogen_like", "O_water")
    assert content["chemical_species_to_atom_type_map"] == {"H": "hydrogen_like", "O": "O_water"}
    assert (content["cutoff"], content["model_dtype"], content["architecture"]) == (4.0, "float64", "nequip")
    assert content["n_parameters"] == sum(p.numel() for p in water.model.parameters())
    assert content["reference_structures"] == 2


def test_a_compiled_file_names_its_package_its_machine_and_the_differences(
    compiled_silicon: Path, silicon_package: Path
) -> None:
    content = describe(compiled_silicon)
    assert content["package_sha256"] == sha256(silicon_package)
    assert (content["device"], content["target"], content["runs_here"]) == ("cpu", "batch", "yes")
    assert content["verified"]["forces"] < 1e-3
    assert content["type_names"] == ("Si",)


def test_the_mode_of_a_compiled_file_is_told(fused_silicon: Path, native_silicon: Path, scripted_silicon: Path) -> None:
    kinds = [describe(path)["kind"] for path in (fused_silicon, native_silicon, scripted_silicon)]
    assert kinds == [
        "compiled model (native kernel)",
        "compiled model (AOTInductor: native code)",
        "compiled model (TorchScript)",
    ]
    assert describe(fused_silicon)["radial_table"]["pieces"] >= 128


@pytest.mark.parametrize("damage", ["truncated", "missing", "unknown ending"])
def test_what_is_no_whole_model_file_is_refused(silicon_package: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / ("model.zip" if damage == "unknown ending" else "model.shoal")
    if damage != "missing":
        path.write_bytes(silicon_package.read_bytes()[: None if damage == "unknown ending" else -100])
    with pytest.raises(ModelFileError, match=r"model\.(shoal|zip): "):
        describe(path)
