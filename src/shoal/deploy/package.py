"""Writing a `.shoal` package: manifest, weights and reference results, in a zip that is the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shoal.atomic import write_atomically
from shoal.errors import ModelFileError
from shoal.files import ArchitectureSpec, Manifest, read_checkpoint
from shoal.files.manifest import REFERENCE, WEIGHTS
from shoal.files.package import MANIFEST
from shoal.files.reference import RESULTS, frames_to_structures, structures_to_tensors
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.state import SimState

_EPOCH = (1980, 1, 1, 0, 0, 0)


def package(checkpoint: str | Path, out: str | Path, *, averaged: bool = True) -> Path:
    """Pack the model of a training checkpoint (`.ckpt`) into a `.shoal` file and return its path.

    `averaged`: take the exponential moving average of the weights, as validation does. Raises ModelFileError.
    """
    content = read_checkpoint(checkpoint, averaged=averaged)
    spec = ArchitectureSpec(name=content.architecture, config=content.config, radial_table=content.radial_table)
    potential = LearnedPotential(spec, content.weights, content.species_map)
    structures, atom_types = frames_to_structures(content.reference_structures)
    return package_potential(
        potential,
        out,
        structures,
        atom_types,
        statistics=content.statistics,
        provenance=content.provenance,
    )


def package_potential(
    potential: LearnedPotential,
    out: str | Path,
    structures: SimState,
    atom_types: torch.Tensor,
    *,
    results: Mapping[str, torch.Tensor] | None = None,
    statistics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Pack a potential in memory; `structures` with atom types (N,) become its reference.

    `results`: energy (S,), forces (N, 3), stress (S, 3, 3) of the structures; by default the potential's own.

    Raises ModelFileError if `out` does not end in .shoal or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".shoal":
        raise ModelFileError(f"{out}: a package's name ends in .shoal")
    members = {
        WEIGHTS: _safetensors(potential.model.state_dict()),
        REFERENCE: _safetensors(
            {
                **structures_to_tensors(structures, atom_types),
                **(results or _results(potential, structures, atom_types)),
            }
        ),
    }
    manifest = Manifest(
        architecture=potential.spec,
        capabilities=potential.capabilities,
        type_names=potential.type_names,
        chemical_species_to_atom_type_map=dict(potential.species_map) if potential.species_map is not None else None,
        cutoff=potential.cutoff,
        statistics=dict(statistics or {}),
        provenance={"packed_with_torch": torch.__version__, **(provenance or {})},
        members={name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    )
    content = {MANIFEST: manifest.model_dump_json(indent=1).encode(), **members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    try:
        write_atomically(out, buffer.getbuffer())
    except OSError as error:
        raise ModelFileError(f"{out}: cannot write it: {error}") from error
    return out


def _results(potential: LearnedPotential, structures: SimState, atom_types: torch.Tensor) -> dict[str, torch.Tensor]:
    state = structures.to(potential.device)
    neighbors = neighbor_list(state, potential.cutoff)
    return potential(state, neighbors, RESULTS, atom_types=atom_types.to(potential.device))


def _safetensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
