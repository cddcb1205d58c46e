"""Is a model what its package says it is? It is held against the results that the package carries.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from shoal.deploy.verify import TOLERANCE
from shoal.errors import ModelFileError
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential


def compare_with_reference(
    potential: LearnedPotential, reference: Mapping[str, torch.Tensor], what: str
) -> dict[str, float]:
    """Largest differences to the results in a package's `reference` tensors.

    energy (eV/atom, without isolated atoms), forces (eV/A), stress (eV/A^3, of systems with a volume). Raises
    ModelFileError, beginning with `what`, for a difference beyond the tolerance of the model's precision.
    """
    structures, types = tensors_to_structures(reference)
    state, types = structures.to(potential.device), types.to(potential.device)
    results = potential(state, neighbor_list(state, potential.cutoff), RESULTS, atom_types=types)
    shifts = potential.model.scale_shift.shifts.detach()[types]
    total = torch.zeros_like(results["energy"]).index_add(0, state.system_index, shifts).cpu()
    differences = {}
    for name in RESULTS:
        own, expected = results[name].cpu(), reference[name]
        if name == "energy":
            own, expected = ((values - total) / structures.n_atoms_per_system for values in (own, expected))
        told = ~(own.isnan() & expected.isnan())
        difference, scale = _largest((own - expected)[told]), _largest(expected[told])
        allowed = TOLERANCE[potential.model_dtype] * max(1.0, scale)
        if not difference <= allowed:
            raise ModelFileError(f"{what}: its {name} differs by {difference:.1e}, allowed are {allowed:.1e}")
        differences[name] = difference
    return differences


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
