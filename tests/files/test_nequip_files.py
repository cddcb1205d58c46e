"""What a file of nequip-compile is stands in its zip; what cannot run here is refused by name before it is loaded."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from tests.potentials.nequip_standin import FIELDS, INPUTS, STRINGS, changed, write_torchscript

import shoal
from shoal.errors import InputError, ModelFileError
from shoal.files import describe, read_nequip_metadata
from shoal.files.compiled import cpu_isa

HERE = {
    "AOTI_DEVICE_KEY": "cpu",
    "AOTI_PLATFORM": sys.platform,
    "AOTI_MACHINE": platform.machine(),
    "AOTI_CPU_ISA": "",
    "AOTI_COMPUTE_CAPABILITY": "",
}
RECOMPILE = r"nequip-compile MODEL .*\.nequip\.pt2 --mode aotinductor --target batch --device"


def native(folder: Path, **strings: str | None) -> Path:
    """The zip of a `.nequip.pt2` with metadata of its own and, for code, some bytes that no one can load."""
    path = folder / "model.nequip.pt2"
    content = {k: v for k, v in (STRINGS | FIELDS | HERE | strings).items() if v is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.wrapper", "b.kernel"):
            archive.writestr(f"model.nequip/data/aotinductor/model/{name}_metadata.json", json.dumps(content))
        archive.writestr("model.nequip/data/aotinductor/model/a.wrapper.so", b"no code")
    return path


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_torchscript(tmp_path_factory.mktemp("scripted") / "model.nequip.pth")


def test_metadata_of_native_files(tmp_path: Path) -> None:
    words = {"per_edge_type_cutoff": "4.0 3.5 3.0 2.5", "AOTI_CPU_ISA": "AVX512 AVX512_VNNI"}
    metadata = read_nequip_metadata(native(tmp_path, **words))
    assert (metadata.type_names, metadata.cutoff, metadata.model_dtype) == (("Si", "C"), 4.0, "float64")
    assert metadata.cutoffs == ((4.0, 3.5), (3.0, 2.5))
    assert (metadata.native, metadata.target, metadata.device) == (True, "batch", "cpu")
    assert set(metadata.processor.split()) >= {"avx512f", "avx512_vnni", "fma"}


def test_metadata_of_torchscript_files(scripted: Path) -> None:
    metadata = read_nequip_metadata(scripted)
    assert (metadata.type_names, metadata.cutoff, metadata.model_dtype) == (("Si", "C"), 4.0, "float64")
    assert (metadata.native, metadata.target, metadata.device, metadata.cutoffs) == (False, "batch", "", None)


def test_older_files_that_name_no_fields_are_taken_for_the_batch_target(tmp_path: Path) -> None:
    path = native(tmp_path, nequip_aoti_inputs=None, nequip_aoti_outputs=None)
    assert read_nequip_metadata(path).target == "batch"


OTHERS = {
    "ase": {"nequip_aoti_inputs": " ".join(INPUTS[:5])},
    "pair_nequip": {
        "nequip_aoti_inputs": " ".join(INPUTS[:5]),
        "nequip_aoti_outputs": "atomic_energy forces virial",
    },
    "pair_allegro": {
        "nequip_aoti_inputs": " ".join(INPUTS[:3]),
        "nequip_aoti_outputs": "atomic_energy forces virial",
    },
    "unknown": {"nequip_aoti_outputs": "total_energy magmom"},
}


@pytest.mark.parametrize("target", OTHERS)
def test_other_targets_are_refused_by_name_with_the_command(target: str, tmp_path: Path) -> None:
    path = native(tmp_path, **OTHERS[target])
    with pytest.raises(
        ModelFileError, match=rf"model\.nequip\.pt2 was compiled for the target {target}.*{RECOMPILE} cpu"
    ):
        shoal.load(path)
    content = describe(path)
    assert content["target"] == target
    assert content["runs_here"].startswith("no: ")


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ({"AOTI_DEVICE_KEY": "cuda"}, rf"was compiled for cuda, asked to run on cpu; .*{RECOMPILE} cpu"),
        ({"AOTI_CPU_ISA": "AMX_TILE AVX512"}, rf"compiled for a processor with .*; .*{RECOMPILE} cpu"),
        ({"AOTI_MACHINE": "riscv64"}, rf"compiled on {sys.platform} riscv64, this is .*{RECOMPILE} cpu"),
        ({"AOTI_PLATFORM": "win32"}, rf"compiled on win32 .*, this is {sys.platform}.*{RECOMPILE} cpu"),
        (
            {"nequip_custom_ops_libs": "openequivariance"},
            "needs the operators of openequivariance, which is not installed",
        ),
        ({"nequip_custom_ops_libs": "os"}, "needs the operators of os; Shoal registers those of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_files_for_other_machines_are_refused_before_they_are_loaded(
    strings: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.files.compiled.cpu_isa", lambda: platform.machine().lower())
    path = native(tmp_path, **strings)
    with pytest.raises(ModelFileError, match=message):
        shoal.load(path, device="cpu")
    assert describe(path)["runs_here"] != "yes"


def test_a_file_for_this_machine_passes_the_checks_and_torch_says_what_is_wrong_with_its_code(tmp_path: Path) -> None:
    isa = "AVX512" if "avx512f" in cpu_isa() else "AVX2" if "avx2" in cpu_isa() else ""
    path = native(tmp_path, AOTI_CPU_ISA=isa)
    assert describe(path)["runs_here"] == "yes"
    with pytest.raises(ModelFileError, match=rf"model\.nequip\.pt2: torch cannot load it: .*{RECOMPILE} cpu"):
        shoal.load(path)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_an_indexed_device_is_one_of_a_cuda_file(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not refused for its device: what is missing is the GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = native(tmp_path, AOTI_DEVICE_KEY="cuda", AOTI_COMPUTE_CAPABILITY="90")
    with pytest.raises(InputError, match=f"device {device} was asked for, but torch sees no GPU"):
        shoal.load(path, device=device)


@pytest.mark.parametrize("there", [(8, 0), (9, 0)])
def test_a_cuda_file_runs_on_its_compute_capability(
    there: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: there)
    path = native(tmp_path, AOTI_DEVICE_KEY="cuda", AOTI_COMPUTE_CAPABILITY="90")
    words = "torch cannot load it" if there == (9, 0) else r"compute capability 9\.0, cuda:1 has 8\.0"
    with pytest.raises(ModelFileError, match=words):
        shoal.load(path, device="cuda:1")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("r_max", None, "not written by nequip-compile: it holds no 'r_max'|it holds no r_max"),
        ("type_names", None, "it holds no type_names"),
        ("r_max", "nan", "r_max is nan"),
        ("r_max", "far", "could not convert"),
        ("num_types", "3", "num_types is 3, the types are Si, C"),
        ("model_dtype", "bfloat16", "model_dtype is bfloat16"),
        ("per_edge_type_cutoff", "4.0 3.0", "per_edge_type_cutoff must be 4 numbers within r_max"),
        ("per_edge_type_cutoff", "4 4 4 5", "per_edge_type_cutoff must be 4 numbers within r_max"),
    ],
)
@pytest.mark.parametrize("kind", ["native", "scripted"])
def test_metadata_without_sense_is_refused(
    kind: str, key: str, value: str | None, message: str, scripted: Path, tmp_path: Path
) -> None:
    if kind == "native":
        path = native(tmp_path, **{key: value})
    else:
        path = changed(scripted, tmp_path / "model.nequip.pth", {key: value})
    with pytest.raises(ModelFileError, match=rf"model\.nequip\.pt.*: .*({message})"):
        shoal.load(path)


@pytest.mark.parametrize("kind", ["native", "scripted"])
@pytest.mark.parametrize("damage", ["truncated", "a byte", "another file", "missing"])
def test_damage_is_named(kind: str, damage: str, scripted: Path, tmp_path: Path) -> None:
    source = native(tmp_path) if kind == "native" else scripted
    path = tmp_path / f"broken{''.join(source.suffixes)}"
    data = bytearray(source.read_bytes())
    if damage == "a byte":
        with zipfile.ZipFile(source) as archive:
            stored = [info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
            content = max(map(archive.read, stored), key=len)
        data[data.index(content) + len(content) // 2] ^= 0xFF
    if damage != "missing":
        path.write_bytes({"truncated": data[:-40], "a byte": data}.get(damage, b"\x00" * 100))
    with pytest.raises(ModelFileError, match=r"broken\.nequip\.pt[2h]: (damaged|truncated, damaged|no such file)"):
        shoal.load(path)


def test_info_says_what_is_in_a_torchscript_file(scripted: Path) -> None:
    content = describe(scripted)
    assert content["kind"] == "NequIP's compiled model (TorchScript)"
    assert (content["type_names"], content["cutoff"], content["device"]) == (("Si", "C"), 4.0, "any")
    assert (content["target"], content["runs_here"]) == ("batch", "yes")


def test_a_nequip_package_is_refused_with_the_command_that_imports_it(tmp_path: Path) -> None:
    path = tmp_path / "model.nequip.zip"
    path.write_bytes(b"PK")
    with pytest.raises(ModelFileError, match=r"shoal import-nequip .*model\.nequip\.zip OUT\.shoal --trust"):
        shoal.load(path)
