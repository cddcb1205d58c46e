"""Metadata of compiled files, read from the zip before anything in it is loaded."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from shoal.contract import Capabilities
from shoal.devices import as_device
from shoal.errors import ModelFileError
from shoal.files.archive import whole_archive
from shoal.files.kernels import runnable_kernel

METADATA = "extra/shoal.json"
INPUTS = ("positions", "cell", "edge_index", "edge_cell_shift", "atom_types", "system_index", "energy_weights")
OUTPUTS = ("atomic_energy", "energy", "forces", "stress", "virial")


class CompiledMetadata(BaseModel):
    """What a compiled file says of itself; on disk every value is a string.

    `verified`: largest differences seen when it was written, against the eager model of the same dtype and against
    eager float64 (energy eV/atom, forces eV/A, stress eV/A^3). `kernel`: which convolution it holds. `custom_ops`: the
    libraries of a native kernel. `radial_table`: pieces of its radial tables, how far they are from the networks in a
    force (eV/A), and what chose them, "training" or "table_error", if it has any. `mode`: "native" where a file holds a
    kernel and nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shoal_schema: int
    mode: str
    package_sha256: str
    type_names: tuple[str, ...]
    chemical_species_to_atom_type_map: dict[str, str] | None
    cutoff: float
    model_dtype: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    torch_version: str
    device: str
    cpu_isa: str
    compute_capability: str
    target: str
    verified: dict[str, float]
    custom_ops: list[dict[str, str]]
    capabilities: Capabilities
    kernel: str = "inductor"
    radial_table: dict[str, int | float | str] = {}
    provenance: dict[str, Any] = {}

    def to_strings(self) -> dict[str, str]:
        """Every value as a string: words as they are, the rest as JSON."""
        values = self.model_dump(mode="json")
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}

    @classmethod
    def from_strings(cls, strings: dict[str, str]) -> CompiledMetadata:
        """The inverse of `to_strings`. Raises ValueError."""
        plain = {key for key, field in cls.model_fields.items() if field.annotation is str}
        return cls.model_validate({k: v if k in plain else json.loads(v) for k, v in strings.items()})


def radial_table_in_words(table: Mapping[str, int | float | str]) -> str:
    """What `radial_table` of the metadata says."""
    pieces, error = float(table["pieces"]), float(table["force_error"])
    if table.get("chosen_by") == "training":
        return f"{pieces:.0f} pieces, as it was trained; the networks they stand for are up to {error:.1e} eV/A away"
    return f"{pieces:.0f} pieces, which change forces by at most {error:.1e} eV/A"


def read_metadata(path: str | Path) -> CompiledMetadata:
    """Metadata of a `.shoal.pt2` or `.shoal.pth`; checks the whole archive for damage.

    Raises ModelFileError for a file that is missing, truncated, damaged, or not compiled by Shoal.
    """
    path = Path(path)
    with whole_archive(path, "compiled model", "compile the model again") as archive:
        names = [name for name in archive.namelist() if name == METADATA or name.endswith("/" + METADATA)]
        if not names:
            raise ModelFileError(f"{path}: not compiled by Shoal (it holds no {METADATA})")
        data = archive.read(names[0])
    try:
        return CompiledMetadata.from_strings(json.loads(data))
    except (ValidationError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path}: its metadata cannot be read: {error}; compile the model again") from None


def check_runs_here(path: str | Path, metadata: CompiledMetadata, device: torch.device | str) -> torch.device:
    """The device to run a file on; refuses a file made for another device, torch or processor.

    AOTInductor's code needs the torch minor version and the processor it was made for, TorchScript the torch major
    version, a native kernel an instruction set it was built for. Raises ModelFileError with the way to mend it,
    InputError for a device that is not there.
    """
    if metadata.mode == "native":
        return _check_kernel_runs_here(path, metadata, device)
    kind, native = str(device).split(":")[0], metadata.mode == "aotinductor"
    again = f"compile it again: shoal compile MODEL {path} --mode {metadata.mode} --device {kind}"
    found = check_device(path, metadata.device, device, again)
    length = 2 if native else 1
    if _version(metadata.torch_version)[:length] != _version(torch.__version__)[:length]:
        raise ModelFileError(
            f"{path} was compiled with torch {metadata.torch_version}, this is torch {torch.__version__}; {again}"
        )
    if native:
        check_processor(path, found, metadata.cpu_isa, metadata.compute_capability, again)
    return found


def _check_kernel_runs_here(path: str | Path, metadata: CompiledMetadata, device: torch.device | str) -> torch.device:
    kind, again = str(device).split(":")[0], f"compile it again: shoal compile MODEL {path}"
    found = check_device(path, metadata.device, device, f"{again} --device {kind}")
    if runnable_kernel(metadata.custom_ops) is None:
        built = ", ".join(entry["target"] for entry in metadata.custom_ops)
        raise ModelFileError(
            f"{path} holds kernels for {metadata.cpu_isa} ({built}), none for this processor ({cpu_isa()}); "
            f"{again} --kernel native"
        )
    return found


def check_device(path: str | Path, made_for: str, device: torch.device | str, again: str) -> torch.device:
    """The device to run a file on that was made for a kind of device; any index of that kind will do.

    `again`: the command that compiles it anew. Raises ModelFileError with it, InputError for an absent device.
    """
    if (kind := str(device).split(":")[0]) not in ("cpu", "cuda"):
        return as_device(device)
    if kind != made_for:
        raise ModelFileError(f"{path} was compiled for {made_for}, asked to run on {device}; {again}")
    return as_device(device)


def check_processor(path: str | Path, device: torch.device, isa: str, capability: str, again: str) -> None:
    """Refuse native code for a processor with words of `isa` (CPU) or a compute capability that is not here.

    Raises ModelFileError with `again`, the command that compiles the file anew.
    """
    if device.type == "cpu":
        missing = sorted(set(isa.split()) - set(cpu_isa().split()))
        if missing:
            raise ModelFileError(f"{path} was compiled for a processor with {', '.join(missing)}; {again}")
    elif capability != compute_capability(device):
        raise ModelFileError(
            f"{path} was compiled for compute capability {capability}, "
            f"{device} has {compute_capability(device)}; {again}"
        )


def cpu_isa() -> str:
    """The machine type and its vector and bit-manipulation extensions, as words."""
    words = {platform.machine().lower()}
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                wanted = ("avx", "fma", "amx", "bmi", "f16c", "sse4", "vaes", "gfni", "sve", "asimd", "bf16", "i8mm")
                words |= {word for word in line.split(":")[1].split() if word.startswith(wanted)}
                break
    else:
        words.add(torch.backends.cpu.get_cpu_capability().lower())
    return " ".join(sorted(words))


def compute_capability(device: torch.device) -> str:
    """Of a CUDA device, such as 9.0; empty for others."""
    if device.type != "cuda":
        return ""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{major}.{minor}"


def _version(version: str) -> list[str]:
    return version.split("+")[0].split(".")
