"""Reading a `.ckpt`: tensors and plain values only, nothing in it is run.

A checkpoint is one dictionary, written by `torch.save`:

    shoal_checkpoint                   1, the version of this layout
    architecture                       name in `shoal.architectures`
    model_config                       what the architecture is built from; type names, cutoff, mean neighbours included
    type_names                         words, in the order of the type index
    chemical_species_to_atom_type_map  chemical symbol -> type name, as training used it
    weights, averaged_weights          state dictionaries of the module: as trained, and their moving average
    statistics                         mean_neighbors, energy_scales and energy_shifts per type (eV), counts
    provenance                         versions, time, data files, errors of the model
    reference_structures               a few frames: positions (N, 3) A, cell (3, 3) A, pbc (3,), atomic_numbers (N,),
                                       atom_types (N,)
    config                             the whole training configuration; its training.radial_table belongs to the model
    training                           what an exact resume needs; `shoal.training` alone reads it
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shoal.errors import ModelFileError
from shoal.files.archive import whole_archive

SCHEMA = 1
_FOREIGN = "a checkpoint of nequip-train becomes a package by shoal import-nequip"
_KEYS: dict[str, type] = {
    "architecture": str,
    "model_config": dict,
    "type_names": list,
    "chemical_species_to_atom_type_map": dict,
    "weights": dict,
    "averaged_weights": dict,
    "statistics": dict,
    "provenance": dict,
    "reference_structures": list,
    "config": dict,
    "training": dict,
}


@dataclass(frozen=True)
class Checkpoint:
    """The model in a checkpoint; `raw` is the whole dictionary."""

    architecture: str
    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    type_names: tuple[str, ...]
    species_map: dict[str, str]
    statistics: dict[str, Any]
    provenance: dict[str, Any]
    reference_structures: list[dict[str, torch.Tensor]]
    raw: Mapping[str, Any]

    @property
    def radial_table(self) -> int | None:
        """Pieces of the tables that the model was trained with, None: with its radial networks."""
        found = self.raw["config"].get("training", {}).get("radial_table")
        return None if found is None else int(found)


def read_checkpoint(path: str | Path, *, averaged: bool = True) -> Checkpoint:
    """Read a checkpoint; its averaged weights unless `averaged=False` asks for those of the last step.

    Raises ModelFileError for a file that is missing, truncated, damaged or no Shoal checkpoint.
    """
    raw = _load(Path(path))
    return Checkpoint(
        architecture=raw["architecture"],
        config=raw["model_config"],
        weights=raw["averaged_weights" if averaged else "weights"],
        type_names=tuple(raw["type_names"]),
        species_map=raw["chemical_species_to_atom_type_map"],
        statistics=raw["statistics"],
        provenance=raw["provenance"],
        reference_structures=raw["reference_structures"],
        raw=raw,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        with whole_archive(path, "checkpoint", "take another checkpoint of the run"):
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, KeyError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"{path}: no Shoal checkpoint, or damaged: {first}; {_FOREIGN}") from None
    if not isinstance(raw, dict) or "shoal_checkpoint" not in raw:
        raise ModelFileError(
            f"{path}: no Shoal checkpoint; `shoal train` writes them (one of nequip-train is brought along by "
            f"shoal import-nequip {path} OUT.shoal --trust)"
        )
    if raw["shoal_checkpoint"] != SCHEMA:
        raise ModelFileError(
            f"{path}: checkpoint layout {raw['shoal_checkpoint']!r}; this version of Shoal reads {SCHEMA}"
        )
    for key, kind in _KEYS.items():
        if not isinstance(raw.get(key), kind):
            raise ModelFileError(f"{path}: damaged: {key} is missing or no {kind.__name__}")
    return raw
