"""What a model file is and what is in it, for people; nothing in it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from shoal.architectures import build
from shoal.errors import ShoalError
from shoal.files.checkpoint import read_checkpoint
from shoal.files.compiled import check_runs_here, read_metadata
from shoal.files.kinds import Kind, model_kind
from shoal.files.nequip import check_nequip_runs_here, read_nequip_metadata
from shoal.files.package import file_sha256, read_package

KINDS = {
    "package": "Shoal package",
    "aotinductor": "compiled model (AOTInductor: native code)",
    "torchscript": "compiled model (TorchScript)",
    "checkpoint": "training checkpoint",
    "nequip_aotinductor": "NequIP's compiled model (AOTInductor: native code)",
    "nequip_torchscript": "NequIP's compiled model (TorchScript)",
}


def describe(path: str | Path) -> dict[str, Any]:
    """Kind, hash, types, species map, cutoff (A), architecture and where it comes from, as far as the file says.

    The whole file is checked for damage. Raises ModelFileError.
    """
    path = Path(path)
    kind = model_kind(path)
    content = READERS[kind](path)
    size = f"{path.stat().st_size / 1e6:.2f} MB"
    return {"file": str(path), "kind": KINDS[kind], "size": size, "sha256": file_sha256(path), **content}


def _package(path: Path) -> dict[str, Any]:
    package = read_package(path)
    manifest = package.manifest
    return {
        **_model(manifest.type_names, manifest.chemical_species_to_atom_type_map, manifest.cutoff),
        "model_dtype": manifest.capabilities.dtype,
        **_architecture(manifest.architecture.name, manifest.architecture.config, package.weights),
        **_trained_table(manifest.architecture.radial_table),
        "interaction_range": manifest.capabilities.interaction_range,
        "outputs": manifest.capabilities.outputs,
        "statistics": manifest.statistics,
        "provenance": manifest.provenance,
        "reference_structures": len(package.reference["n_atoms"]),
        "members": manifest.members,
    }


def _compiled(path: Path) -> dict[str, Any]:
    metadata = read_metadata(path)
    return {
        **({"kind": "compiled model (native kernel)"} if metadata.mode == "native" else {}),
        **_model(metadata.type_names, metadata.chemical_species_to_atom_type_map, metadata.cutoff),
        "model_dtype": metadata.model_dtype,
        "package_sha256": metadata.package_sha256,
        "device": metadata.device,
        "target": metadata.target,
        "torch_version": metadata.torch_version,
        "cpu_isa": metadata.cpu_isa,
        "compute_capability": metadata.compute_capability,
        "runs_here": _runs_here(lambda: check_runs_here(path, metadata, metadata.device)),
        "kernel": metadata.kernel,
        **({"radial_table": metadata.radial_table} if metadata.radial_table else {}),
        "verified": metadata.verified,
        "outputs": metadata.capabilities.outputs,
        "custom_ops": metadata.custom_ops,
        "provenance": metadata.provenance,
    }


def _checkpoint(path: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    return {
        **_model(checkpoint.type_names, checkpoint.species_map, checkpoint.config.get("cutoff")),
        "model_dtype": checkpoint.config.get("model_dtype", ""),
        **_architecture(checkpoint.architecture, checkpoint.config, checkpoint.weights),
        **_trained_table(checkpoint.radial_table),
        "statistics": checkpoint.statistics,
        "provenance": checkpoint.provenance,
        "reference_structures": len(checkpoint.reference_structures),
    }


def _model(type_names: tuple[str, ...], species: Mapping[str, str] | None, cutoff: float | None) -> dict[str, Any]:
    return {
        "type_names": type_names,
        "chemical_species_to_atom_type_map": "none stored" if species is None else dict(species),
        "cutoff": cutoff,
    }


def _architecture(name: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    trained = {parameter for parameter, _ in build(name, config).named_parameters()}
    return {
        "architecture": name,
        "config": dict(config),
        "n_parameters": sum(value.numel() for parameter, value in weights.items() if parameter in trained),
    }


def _trained_table(pieces: int | None) -> dict[str, Any]:
    return {} if pieces is None else {"radial_table": {"pieces": pieces, "chosen_by": "training"}}


def _runs_here(check: Callable[[], object]) -> str:
    try:
        check()
    except (ShoalError, RuntimeError, AssertionError) as error:
        return f"no: {error}"
    return "yes"


def _nequip(path: Path) -> dict[str, Any]:
    metadata = read_nequip_metadata(path)
    return {
        **_model(metadata.type_names, None, metadata.cutoff),
        "per_edge_type_cutoff": metadata.cutoffs,
        "model_dtype": metadata.model_dtype,
        "device": metadata.device or "any",
        "target": metadata.target,
        "processor": metadata.processor,
        "compute_capability": metadata.compute_capability,
        "runs_here": _runs_here(lambda: check_nequip_runs_here(path, metadata)),
        "custom_ops": metadata.operator_libraries,
    }


READERS: dict[Kind, Callable[[Path], dict[str, Any]]] = {
    "package": _package,
    "checkpoint": _checkpoint,
    "aotinductor": _compiled,
    "torchscript": _compiled,
    "nequip_aotinductor": _nequip,
    "nequip_torchscript": _nequip,
}
