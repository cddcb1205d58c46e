"""Reading a `.shoal` package: JSON and safetensors by name, with size limits and hashes. No code is run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from shoal.errors import ModelFileError
from shoal.files.archive import opened_archive
from shoal.files.manifest import REFERENCE, SCHEMA, WEIGHTS, Manifest

MANIFEST = "manifest.json"
_LIMITS = {MANIFEST: 16 << 20, WEIGHTS: 16 << 30, REFERENCE: 1 << 30}


@dataclass(frozen=True)
class Package:
    """Manifest, weights, reference structures with the model's own results, and the sha256 of the file."""

    manifest: Manifest
    weights: dict[str, torch.Tensor]
    reference: dict[str, torch.Tensor]
    sha256: str


def read_package(path: str | Path) -> Package:
    """Read and verify a package. Raises ModelFileError naming the file, the member and what is wrong with it."""
    path = Path(path)
    manifest = read_manifest(path)
    tensors = {}
    for name in (WEIGHTS, REFERENCE):
        if name not in manifest.members:
            raise ModelFileError(f"{path}: the manifest does not list {name}; pack the model again")
        data = _member(path, name)
        if hashlib.sha256(data).hexdigest() != manifest.members[name]:
            raise ModelFileError(f"{path}: {name} was changed or damaged: its hash differs from the manifest's")
        tensors[name] = _tensors(path, name, data)
    return Package(manifest, tensors[WEIGHTS], tensors[REFERENCE], file_sha256(path))


def read_manifest(path: str | Path) -> Manifest:
    """Read only the manifest. Raises ModelFileError."""
    path = Path(path)
    data = _member(path, MANIFEST)
    try:
        content = json.loads(data)
        schema = content.get("shoal_schema")
    except (ValueError, AttributeError) as error:
        raise ModelFileError(f"{path}: {MANIFEST} is no valid JSON object: {error}") from None
    if schema != SCHEMA:
        raise ModelFileError(f"{path}: schema {schema!r}; this version of Shoal reads schema {SCHEMA}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelFileError(f"{path}: {MANIFEST}: {where}: {first['msg']}") from None


def file_sha256(path: str | Path) -> str:
    """The sha256 of a file, as `sha256sum` prints it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member(path: Path, name: str) -> bytes:
    with opened_archive(path, "Shoal package") as archive:
        if name not in archive.namelist():
            raise ModelFileError(f"{path}: no Shoal package, it holds no {name}")
        if archive.getinfo(name).file_size > _LIMITS[name]:
            raise ModelFileError(f"{path}: {name} claims {archive.getinfo(name).file_size} bytes, too many")
        return archive.read(name)


def _tensors(path: Path, name: str, data: bytes) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{path}: {name} holds no valid tensors: {error}") from None
