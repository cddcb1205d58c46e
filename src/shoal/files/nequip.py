"""Metadata of files that `nequip-compile` wrote, read from the zip before anything in it is loaded.

N atoms, E edges, S systems, T types.
"""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path

import torch

from shoal.errors import ModelFileError
from shoal.files.archive import whole_archive
from shoal.files.compiled import check_device, check_processor
from shoal.files.kinds import model_kind

# pos (N, 3), edge_index (2, E), row 0 the centre, atom_types (N,), cell (S, 3, 3) rows, edge_cell_shift (E, 3),
# batch (N,), num_atoms (S,); atomic_energy (N, 1), total_energy (S, 1), forces (N, 3), stress (S, 3, 3)
INPUTS = ("pos", "edge_index", "atom_types", "cell", "edge_cell_shift", "batch", "num_atoms")
OUTPUTS = ("atomic_energy", "total_energy", "forces", "stress")
_LAMMPS = ("atomic_energy", "forces", "virial")
TARGETS = {
    (INPUTS, OUTPUTS): "batch",
    (INPUTS[:5], OUTPUTS): "ase",
    (INPUTS[:5], _LAMMPS): "pair_nequip",
    (INPUTS[:3], _LAMMPS): "pair_allegro",
}
# the libraries of operators that NequIP's accelerations name in their files; nothing else is imported on a file's word
OPERATOR_LIBRARIES = ("cuequivariance_torch", "openequivariance")
# torch's words for vector extensions, as a processor spells them
_EXTENSIONS = {
    "AVX2": "avx2 fma",
    "AVX512": "avx512f avx512dq avx512vl avx512bw fma",
    "AVX512_VNNI": "avx512_vnni",
    "AMX_TILE": "amx_tile",
}


@dataclass(frozen=True)
class NequIPMetadata:
    """What a `.nequip.pt2` or `.nequip.pth` says of itself.

    `cutoff` A; `cutoffs` (T, T) A by centre and neighbour if it declares them per pair of types. `target`: what it
    was compiled for, "unknown" if its inputs and outputs are no target's. `device` is empty for TorchScript, which
    moves; the words of `processor` are empty where the file does not tell.
    """

    native: bool
    type_names: tuple[str, ...]
    cutoff: float
    cutoffs: tuple[tuple[float, ...], ...] | None
    model_dtype: str
    target: str
    operator_libraries: tuple[str, ...]
    device: str
    platform: str
    processor: str
    compute_capability: str

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], native: bool) -> NequIPMetadata:
        """Of the file's own strings. Raises KeyError for one that is missing, ValueError for one that is no sense."""
        type_names = tuple(strings["type_names"].split())
        n_types, cutoff = len(type_names), float(strings["r_max"])
        if not n_types or int(strings.get("num_types", n_types)) != n_types:
            raise ValueError(f"num_types is {strings.get('num_types')}, the types are {', '.join(type_names)}")
        if not (isfinite(cutoff) and cutoff > 0):
            raise ValueError(f"r_max is {strings['r_max']}")
        if strings["model_dtype"] not in ("float32", "float64"):
            raise ValueError(f"model_dtype is {strings['model_dtype']}")
        lists = (strings.get("nequip_aoti_inputs"), strings.get("nequip_aoti_outputs"))
        # older files lack both lists, and TorchScript takes a dict
        fields = tuple(tuple(words.split()) if words else None for words in lists)
        machine = strings.get("AOTI_MACHINE", "").lower()
        extensions = [_EXTENSIONS.get(word, "") for word in strings.get("AOTI_CPU_ISA", "").split()]
        capability = strings.get("AOTI_COMPUTE_CAPABILITY", "")
        return cls(
            native=native,
            type_names=type_names,
            cutoff=cutoff,
            cutoffs=_square(strings.get("per_edge_type_cutoff", ""), n_types, cutoff),
            model_dtype=strings["model_dtype"],
            target=TARGETS.get((fields[0] or INPUTS, fields[1] or OUTPUTS), "unknown"),
            operator_libraries=tuple(strings.get("nequip_custom_ops_libs", "").split()),
            device=strings["AOTI_DEVICE_KEY"] if native else "",
            platform=strings.get("AOTI_PLATFORM", ""),
            processor=" ".join([machine, *extensions]).strip(),
            compute_capability=f"{capability[:-1]}.{capability[-1]}" if capability.isdigit() else "",
        )


def read_nequip_metadata(path: str | Path) -> NequIPMetadata:
    """Metadata of a `.nequip.pt2` or `.nequip.pth`; checks the whole archive for damage.

    Raises ModelFileError for a file that is missing, truncated, damaged, or not written by `nequip-compile`.
    """
    path = Path(path)
    native = model_kind(path) == "nequip_aotinductor"
    with whole_archive(path, "compiled NequIP model", "compile it again or fetch it again") as archive:
        try:
            strings = _of_native(archive) if native else _of_torchscript(archive)
            return NequIPMetadata.from_strings(strings, native)
        except KeyError as error:
            raise ModelFileError(f"{path}: not written by nequip-compile: it holds no {error.args[0]}") from None
        except (ValueError, AttributeError) as error:
            raise ModelFileError(f"{path}: its metadata cannot be read: {error}; compile it again") from None


def check_nequip_runs_here(
    path: str | Path, metadata: NequIPMetadata, device: torch.device | str | None = None
) -> torch.device:
    """The device to run a file on, by default its own; nothing of it is loaded.

    Refuses a file for another target, device, platform or processor, or one that needs operators that are not
    installed. Raises ModelFileError with what to do about it, InputError for a device that is not there.
    """
    wanted = str(device or metadata.device or "cpu")
    again = f"compile it again: {compile_command(path, wanted.split(':')[0])}"
    if metadata.target != "batch":
        raise ModelFileError(
            f"{path} was compiled for the target {metadata.target}, which takes one structure at a time or another "
            f"program's inputs; Shoal runs the target batch; {again}"
        )
    found = check_device(path, metadata.device or wanted.split(":")[0], wanted, again)
    if metadata.native:
        here = (sys.platform, platform.machine().lower())
        made_on = (metadata.platform or here[0], (metadata.processor.split() or [here[1]])[0])
        if made_on != here:
            raise ModelFileError(f"{path} was compiled on {' '.join(made_on)}, this is {' '.join(here)}; {again}")
        known = Path("/proc/cpuinfo").exists()
        capability = metadata.compute_capability
        if (known and metadata.processor) if found.type == "cpu" else capability:
            check_processor(path, found, metadata.processor, capability, again)
    _check_operators(path, metadata.operator_libraries)
    return found


def compile_command(path: str | Path, device: str) -> str:
    """The command that makes a file Shoal runs."""
    return f"nequip-compile MODEL {path} --mode aotinductor --target batch --device {device}"


def _of_native(archive: zipfile.ZipFile) -> dict[str, str]:
    strings: dict[str, str] = {}
    for name in archive.namelist():
        folder, _, member = name.rpartition("/")
        if folder.endswith("data/aotinductor/model") and member.endswith("_metadata.json"):
            strings |= json.loads(archive.read(name))
        elif member == "nequip_custom_ops_libs.txt":
            strings["nequip_custom_ops_libs"] = archive.read(name).decode()
    return strings


def _of_torchscript(archive: zipfile.ZipFile) -> dict[str, str]:
    strings = {}
    for name in archive.namelist():
        folder, _, member = name.rpartition("/")
        if folder.endswith("/extra"):
            strings[member] = archive.read(name).decode()
    return strings


def _square(words: str, n_types: int, cutoff: float) -> tuple[tuple[float, ...], ...] | None:
    values = [float(word) for word in words.split()]
    if not values:
        return None
    if len(values) != n_types**2 or not all(0 < value <= cutoff for value in values):
        raise ValueError(f"per_edge_type_cutoff must be {n_types**2} numbers within r_max, got {words}")
    return tuple(tuple(values[row * n_types : (row + 1) * n_types]) for row in range(n_types))


def _check_operators(path: str | Path, libraries: tuple[str, ...]) -> None:
    for library in libraries:
        if library not in OPERATOR_LIBRARIES:
            known = ", ".join(OPERATOR_LIBRARIES)
            raise ModelFileError(
                f"{path} needs the operators of {library}; Shoal registers those of {known}; compile the model without "
                "that modifier"
            )
        if find_spec(library) is None:
            raise ModelFileError(
                f"{path} needs the operators of {library}, which is not installed; install it, or compile the model "
                "without that modifier"
            )
