"""A package is data: it opens without running code, and damage of any kind is found and named."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from ase.build import bulk

import shoal
from shoal.deploy import package_potential
from shoal.errors import ModelFileError
from shoal.files import model_kind, read_manifest, read_metadata, read_package
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential


def rewrite(path: Path, out: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy of a zip with members replaced, added, or (None) left out; checksums are right."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        content = {name: old.read(name) for name in old.namelist()}
        content.update({name: data for name, data in changes.items() if data is not None})
        for name, data in content.items():
            if name not in changes or changes[name] is not None:
                new.writestr(name, data)
    return out


def test_package_reproduces_the_results_stored_in_it(water_package: Path) -> None:
    package = read_package(water_package)
    state, types = tensors_to_structures(package.reference)
    potential = LearnedPotential.from_package(package)
    results = potential(state, neighbor_list(state, potential.cutoff), RESULTS, atom_types=types)
    for name in RESULTS:
        torch.testing.assert_close(results[name], package.reference[name], rtol=0, atol=1e-12, equal_nan=True)


def test_package_holds_only_json_and_safetensors(water_package: Path) -> None:
    with zipfile.ZipFile(water_package) as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "reference.safetensors", "weights.safetensors"]
        for name in archive.namelist():
            with pytest.raises(pickle.UnpicklingError):
                pickle.loads(archive.read(name))


def test_the_same_model_gives_the_same_bytes(water: LearnedPotential, water_package: Path, tmp_path: Path) -> None:
    state, types = tensors_to_structures(read_package(water_package).reference)
    again = package_potential(water, tmp_path / "again.shoal", state, types)
    assert again.read_bytes() == water_package.read_bytes()


def test_manifest_names_types_map_and_units(water_package: Path) -> None:
    manifest = read_manifest(water_package)
    assert manifest.type_names == ("hydrogen_like", "O_water")
    assert manifest.chemical_species_to_atom_type_map == {"H": "hydrogen_like", "O": "O_water"}
    assert manifest.units["stress"] == "eV/A^3"
    assert manifest.capabilities.interaction_range == pytest.approx(8.0)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_package_is_refused(keep: float, water_package: Path, tmp_path: Path) -> None:
    data = water_package.read_bytes()
    cut = tmp_path / "cut.shoal"
    cut.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match="cut.shoal.*truncated"):
        shoal.load(cut)


@pytest.mark.parametrize("member", ["weights.safetensors", "reference.safetensors"])
def test_a_changed_number_is_found(member: str, water_package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(water_package) as archive:
        data = bytearray(archive.read(member))
    data[-3] ^= 1
    tampered = rewrite(water_package, tmp_path / "tampered.shoal", {member: bytes(data)})
    with pytest.raises(ModelFileError, match=f"{member} was changed or damaged"):
        shoal.load(tampered)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest.json": None}, "holds no manifest.json"),
        ({"weights.safetensors": None}, "holds no weights.safetensors"),
        ({"manifest.json": b"{"}, "no valid JSON"),
        ({"manifest.json": b'{"shoal_schema": 99}'}, "schema 99"),
        ({"manifest.json": b'{"shoal_schema": 1}'}, "manifest.json"),
    ],
)
def test_a_foreign_or_broken_archive_is_refused(
    changes: dict[str, bytes | None], message: str, water_package: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=message):
        shoal.load(rewrite(water_package, tmp_path / "broken.shoal", changes))


def test_a_manifest_that_does_not_fit_its_weights_is_refused(water_package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(water_package) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    manifest["architecture"]["config"]["num_features"] = 9
    changed = rewrite(water_package, tmp_path / "x.shoal", {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(ModelFileError, match="do not fit"):
        shoal.load(changed)


def test_opening_a_package_never_unpickles(
    water_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a package must not be unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    shoal.load(water_package)


def test_unknown_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nowhere.shoal: no such file"):
        shoal.load(tmp_path / "nowhere.shoal")
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="unknown kind of model file"):
        model_kind(tmp_path / "model.bin")
    buffer = io.BytesIO()
    torch.save({"a": 1}, buffer)
    (tmp_path / "foreign.ckpt").write_bytes(buffer.getvalue())
    with pytest.raises(ModelFileError, match="shoal package"):
        shoal.load(tmp_path / "foreign.ckpt")


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_compiled_file_is_refused(keep: float, compiled_silicon: Path, tmp_path: Path) -> None:
    data = compiled_silicon.read_bytes()
    cut = tmp_path / f"cut{''.join(compiled_silicon.suffixes)}"
    cut.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ModelFileError, match="cut.shoal.*truncated"):
        shoal.load(cut)


def test_a_flipped_byte_in_a_compiled_file_is_found(compiled_silicon: Path, tmp_path: Path) -> None:
    data = bytearray(compiled_silicon.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged = tmp_path / f"damaged{''.join(compiled_silicon.suffixes)}"
    damaged.write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="damaged"):
        shoal.load(damaged)


OTHER_DEVICE = "compiled for cuda, asked to run on cpu.*shoal compile MODEL .* --device cpu"


@pytest.mark.parametrize(
    ("mode", "key", "value", "message"),
    [
        ("native", "device", "cuda", OTHER_DEVICE),
        ("native", "torch_version", "2.6.0", "compiled with torch 2.6.0, this is torch"),
        ("native", "cpu_isa", "avx2 avx1024 x86_64", "processor with avx1024"),
        ("scripted", "device", "cuda", OTHER_DEVICE),
        ("scripted", "torch_version", "1.13.1", "compiled with torch 1.13.1.* --mode torchscript"),
    ],
)
def test_a_file_for_another_machine_is_refused_before_it_is_loaded(
    mode: str,
    key: str,
    value: str,
    message: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = with_metadata(request.getfixturevalue(f"{mode}_silicon"), tmp_path, {key: value})

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the file was loaded")

    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", refuse)
    monkeypatch.setattr(torch.jit, "load", refuse)
    with pytest.raises(ModelFileError, match=message):
        shoal.load(foreign, device="cpu")


@pytest.mark.parametrize(("key", "value"), [("torch_version", "2.6.0"), ("cpu_isa", "aarch64 asimd sve2")])
def test_torchscript_runs_on_any_processor_and_torch_of_its_major_version(
    key: str, value: str, scripted_silicon: Path, tmp_path: Path
) -> None:
    own, moved = (
        shoal.load(path, chemical_species_to_atom_type_map=True)
        for path in (scripted_silicon, with_metadata(scripted_silicon, tmp_path, {key: value}))
    )
    state = atoms_to_state([bulk("Si")])
    assert torch.equal(moved(state)["energy"], own(state)["energy"])


def test_torchscript_says_of_no_processor_that_it_needs_it(scripted_silicon: Path) -> None:
    metadata = read_metadata(scripted_silicon)
    assert (metadata.mode, metadata.cpu_isa, metadata.compute_capability) == ("torchscript", "", "")


def test_an_archive_torch_cannot_open_is_a_named_error(scripted_silicon: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(scripted_silicon) as archive:
        code = next(name for name in archive.namelist() if name.endswith("data.pkl"))
    broken = rewrite(scripted_silicon, tmp_path / "x.shoal.pth", {code: b"nothing"})
    with pytest.raises(ModelFileError, match="cannot load it"):
        shoal.load(broken)


def with_metadata(compiled: Path, folder: Path, changes: dict[str, str]) -> Path:
    """A copy of a compiled file that says something else of itself."""
    metadata = {**read_metadata(compiled).to_strings(), **changes}
    with zipfile.ZipFile(compiled) as archive:
        member = next(name for name in archive.namelist() if name.endswith("extra/shoal.json"))
    out = folder / f"x{''.join(compiled.suffixes)}"
    return rewrite(compiled, out, {member: json.dumps(metadata).encode()})


def test_metadata_survives_as_strings(compiled_silicon: Path) -> None:
    metadata = read_metadata(compiled_silicon)
    strings = metadata.to_strings()
    assert all(isinstance(value, str) for value in strings.values())
    assert type(metadata).from_strings(strings) == metadata


def test_an_archive_shoal_did_not_compile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.shoal.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/archive_format", "pt2")
    with pytest.raises(ModelFileError, match="not compiled by Shoal"):
        shoal.load(path)
