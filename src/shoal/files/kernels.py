"""Native kernels in model files: libraries for several instruction sets, their numbers, where they came from."""

from __future__ import annotations

import ctypes
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from shoal.errors import ModelFileError
from shoal.files.archive import opened_archive
from shoal.native import load_bytes, runnable_targets

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
        source = hashlib.sha256(self.source.encode()).hexdigest()
        return [
            {"name": self.name, "target": target, "sha256": hashlib.sha256(data).hexdigest(), "source_sha256": source}
            for target, data in self.libraries.items()
        ]


def add_kernel(path: Path, kernel: KernelFiles) -> None:
    """Put a kernel into an archive that there is, or into a new one."""
    from safetensors.torch import save

    prefix = "model"
    if path.exists():
        with zipfile.ZipFile(path) as archive:
            prefix = archive.namelist()[0].split("/")[0]
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        members = {
            SOURCE: kernel.source.encode(),
            WEIGHTS: save({"weights": kernel.weights}),
            **{f"{target}.so": data for target, data in kernel.libraries.items()},
        }
        for name, data in members.items():
            archive.writestr(f"{prefix}/{FOLDER}/{name}", data)


def runnable_kernel(described: list[dict[str, str]]) -> dict[str, str] | None:
    """The best of a file's libraries that runs on this processor, None if none does."""
    by_target = {entry["target"]: entry for entry in described}
    return next((by_target[target.name] for target in runnable_targets() if target.name in by_target), None)


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
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise ModelFileError(f"{path}: its kernel for {entry['target']} was changed; compile the model again")
    return load_bytes(data), load(weights)["weights"]
