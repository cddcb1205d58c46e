"""What a model takes from its training data: mean neighbours, energy scales and energy shifts per type.

N atoms, M structures, T types.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from shoal.errors import ShoalWarning
from shoal.training.samples import Sample

RIDGE = 1e-15
RANK = 1e-12


@dataclass(frozen=True)
class Statistics:
    """mean_neighbors per atom; energy_scales and energy_shifts (eV) by type name; how much they rest on."""

    mean_neighbors: float
    energy_scales: dict[str, float]
    energy_shifts: dict[str, float]
    n_structures: int
    n_atoms: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gather_statistics(
    samples: Sequence[Sample],
    type_names: Sequence[str],
    reference_energies: str | Mapping[str, float],
    cutoffs: Sequence[Sequence[float]] | None = None,
) -> Statistics:
    """Statistics of the training samples; `cutoffs` (T, T) A: those of pairs of types, [centre][neighbour].

    Energy scale of a type: the root mean square of its force components, eV for a length of 1 A. Energy shift: the
    given reference energy, zero ("none"), or the least-squares fit ("least_squares").
    """
    counts = np.stack([np.bincount(sample.atom_types.numpy(), minlength=len(type_names)) for sample in samples])
    if isinstance(reference_energies, Mapping):
        shifts = np.array([reference_energies[name] for name in type_names])
    elif reference_energies == "none":
        shifts = np.zeros(len(type_names))
    else:
        labelled = np.array([bool(sample.labelled[0]) for sample in samples])
        energies = np.array([float(sample.energy) for sample in samples])
        shifts = fit_reference_energies(counts[labelled], energies[labelled], type_names)
    n_atoms = counts.sum(axis=0)
    return Statistics(
        mean_neighbors=sum(_n_pairs(sample, cutoffs) for sample in samples) / int(n_atoms.sum()),
        energy_scales=dict(zip(type_names, _force_scales(samples, len(type_names)).tolist(), strict=True)),
        energy_shifts=dict(zip(type_names, shifts.tolist(), strict=True)),
        n_structures=len(samples),
        n_atoms=dict(zip(type_names, n_atoms.tolist(), strict=True)),
    )


def _n_pairs(sample: Sample, cutoffs: Sequence[Sequence[float]] | None) -> int:
    """Pairs that see each other."""
    if cutoffs is None:
        return sample.n_edges
    centre, neighbor = sample.atom_types[sample.edge_index]
    allowed = torch.tensor(cutoffs, dtype=torch.float64)[centre, neighbor]
    return int((sample.edge_vectors.norm(dim=1) < allowed).sum())


def fit_reference_energies(counts: np.ndarray, energies: np.ndarray, type_names: Sequence[str]) -> np.ndarray:
    """Energy of each type (T,) eV from the composition (M, T) and energy (M,) eV of structures.

    Least squares in the energy per atom, with a weak pull towards its mean, which decides what the compositions leave
    open: such types are named in a ShoalWarning.
    """
    if not len(energies):
        warnings.warn("no energies to fit reference energies to: they are zero", ShoalWarning, stacklevel=2)
        return np.zeros(len(type_names))
    sizes = counts.sum(axis=1)
    shares, per_atom = counts / sizes[:, None], energies / sizes
    mean = per_atom.mean()
    curvature, directions = np.linalg.eigh(shares.T @ shares / len(sizes))
    fixed = curvature > RANK * curvature.max()
    open_types = np.abs(directions[:, ~fixed]).max(axis=1, initial=0) > 1e-3
    if open_types.any():
        warnings.warn(
            "the compositions of the training data do not determine the reference energies of "
            f"{', '.join(np.array(type_names)[open_types])}: those nearest to the mean energy per atom were taken. "
            "Give reference_energies to set them.",
            ShoalWarning,
            stacklevel=2,
        )
    slope = directions.T @ (shares.T @ (per_atom - mean) / len(sizes))
    return mean + directions[:, fixed] @ (slope[fixed] / (curvature[fixed] + RIDGE * curvature.max()))


def _force_scales(samples: Sequence[Sample], n_types: int) -> np.ndarray:
    """(T,); a type without forces takes the mean of all, and 1 where nothing is known or all forces are zero."""
    squares, components = np.zeros(n_types), np.zeros(n_types)
    for sample in samples:
        if sample.labelled[1]:
            types = sample.atom_types.numpy()
            squares += np.bincount(types, sample.forces.square().sum(1).numpy(), minlength=n_types)
            components += 3 * np.bincount(types, minlength=n_types)
    overall = np.sqrt(squares.sum() / components.sum()) if squares.sum() > 0 else 1.0
    scales = np.sqrt(np.divide(squares, components, out=np.zeros(n_types), where=components > 0))
    return np.where(scales > 0, scales, overall)
