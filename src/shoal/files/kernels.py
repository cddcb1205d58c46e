"""Native kernels in model files: libraries for several instruction sets, their numbers, where they came from."""

from __future__ import annotations

import ctypes
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from shoal.errors import CompileError, ModelFileError
from shoal.files.archive import opened_archive
from shoal.native import load_bytes, machine, runnable_targets

FOLDER = "extra/native"
WEIGHTS = "weights.safetensors"
SOURCE = "kernel.cpp"


@dataclass(frozen=True)
class KernelFiles:
    """The text of a kernel, a library of it for each instruction set, and its weights (size,)."""

    name: str
    source: str
    libraries: Mapping[str, bytes]
    weights: torch.Tensor

    def described(self) -> list[dict[str, str]]:
        """What metadata say of each library."""
        shared = {"name": self.name, "machine": machine(), "source_sha256": _hash(self.source.encode())}
        shared["weights_sha256"] = _hash(self.weights_file)
        return [{**shared, "target": target, "sha256": _hash(data)} for target, data in self.libraries.items()]

    @cached_property
    def weights_file(self) -> bytes:
        from safetensors.torch import save

        return save({"weights": self.weights})


def add_kernel(path: Path, kernel: KernelFiles) -> None:
    """Put a kernel into an archive that there is, or into a new one."""
    prefix = "model"
    if path.exists():
        with zipfile.ZipFile(path) as archive:
            prefix = archive.namelist()[0].split("/")[0]
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        members = {
            SOURCE: kernel.source.encode(),
            WEIGHTS: kernel.weights_file,
            **{f"{target}.so": data for target, data in kernel.libraries.items()},
        }
        for name, data in members.items():
            archive.writestr(f"{prefix}/{FOLDER}/{name}", data)


def runnable_kernels(described: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those of a file's libraries that run on this processor, the best first."""
    by_target = {entry["target"]: entry for entry in described if entry.get("machine") == machine()}
    return [by_target[target.name] for target in runnable_targets() if target.name in by_target]


def runnable_kernel(described: list[dict[str, str]]) -> dict[str, str] | None:
    """The best of them, None if none runs here."""
    return next(iter(runnable_kernels(described)), None)


def read_kernel(path: Path, entry: dict[str, str]) -> tuple[ctypes.CDLL, torch.Tensor]:
    """A library and its weights. Raises ModelFileError if it is not the one the metadata describe."""
    from safetensors.torch import load

    with opened_archive(path, "compiled model") as archive:
        folder = next(
            (name.rsplit("/", 1)[0] for name in archive.namelist() if name.endswith(f"{FOLDER}/{WEIGHTS}")), ""
        )
        try:
            data, weights = (archive.read(f"{folder}/{name}") for name in (f"{entry['target']}.so", WEIGHTS))
        except KeyError as error:
            raise ModelFileError(f"{path}: its kernel is not there: {error}; compile the model again") from None
    if (_hash(data), _hash(weights)) != (entry["sha256"], entry.get("weights_sha256")):
        raise ModelFileError(f"{path}: its kernel for {entry['target']} was changed; compile the model again")
    try:
        return load_bytes(data), load(weights)["weights"]
    except CompileError as error:
        raise ModelFileError(f"{path}: its kernel does not load here: {error}; compile the model again") from error


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
