"""Sums of pair potentials along the rows of a neighbour matrix: what fast steps evaluate in place of edges.

N atoms, M the most neighbours of an atom, I images, S systems.
"""

from __future__ import annotations

import torch

from shoal.neighbors import PaddedNeighbors
from shoal.nn.segments import segment_sum
from shoal.potentials.pair import PairPotential

PairTerms = list[tuple[PairPotential, torch.Tensor | None]]
"""What `pair_terms` finds in a potential."""


def pair_sums(
    terms: PairTerms,
    pairs: PaddedNeighbors,
    positions: torch.Tensor,
    images: torch.Tensor,
    types: torch.Tensor,
    system_index: torch.Tensor,
    n_systems: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energy (S,) eV, forces (N, 3) eV/A and virial (S, 3, 3) eV; each pair is met from both its atoms.

    positions (N, 3) A and images (I + 1, 3) A, of `PaddedNeighbors.images`; types (N,) int64.
    """
    x, y, z = (images[:, k][pairs.neighbor] - positions[:, k, None] for k in range(3))
    towards = (x, y, z)
    energy, slope = _pair_energies(terms, x * x + y * y + z * z, types, pairs)
    forces = torch.stack([(2 * slope * d).sum(1) for d in towards], dim=1)
    outer = [[(slope * a * b).sum(1) for b in towards] for a in towards]
    virial = -torch.stack([torch.stack(row, dim=1) for row in outer], dim=1)
    return (
        segment_sum(0.5 * energy.sum(1), system_index, n_systems),
        forces,
        segment_sum(virial, system_index, n_systems),
    )


def _pair_energies(
    terms: PairTerms, squared: torch.Tensor, types: torch.Tensor, pairs: PaddedNeighbors
) -> tuple[torch.Tensor, torch.Tensor]:
    """phi (N, M) eV and its slope in the squared distance (N, M) eV/A^2."""
    squared = squared.detach().requires_grad_(True)
    with torch.enable_grad():
        phi = torch.zeros_like(squared)
        for potential, own in terms:
            if len(potential.type_names) == 1:
                first = second = torch.zeros(1, 1, dtype=torch.int64, device=squared.device)
            else:
                image_types = torch.cat([types[pairs.owner], torch.zeros_like(types[:1])])
                first, second = types[:, None], image_types[pairs.neighbor]
                if own is not None:
                    first, second = own[first], own[second]
            phi = phi + potential.pair_energies(squared, first, second)
        (slope,) = torch.autograd.grad(phi.sum(), squared)
    return phi.detach(), slope
