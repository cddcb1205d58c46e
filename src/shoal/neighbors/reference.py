"""Neighbour lists by plain torch: every image within reach is tried, nothing is clever. The oracle for the others."""

from __future__ import annotations

import torch

from shoal.neighbors.pairs import Geometry, Pairs


def reference_pairs(geometry: Geometry, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), sorted by centre, on their device. Cost is quadratic in atoms."""
    parts = []
    offsets = geometry.offsets.tolist()
    for s in range(geometry.n_systems):
        rows = slice(offsets[s], offsets[s + 1])
        own = _one_system(geometry.positions[rows], geometry.cell[s], geometry.pbc[s], cutoff)
        parts.append(Pairs(own.edge_index + offsets[s], own.shifts))
    if not parts:
        return Pairs.empty(geometry.device)
    return Pairs(torch.cat([part.edge_index for part in parts], dim=1), torch.cat([part.shifts for part in parts]))


def _one_system(positions: torch.Tensor, cell: torch.Tensor, pbc: torch.Tensor, cutoff: float) -> Pairs:
    n = positions.shape[0]
    shifts = _images(positions, cell, pbc, cutoff)
    vectors = (
        positions[None, :, None, :] - positions[:, None, None, :] + (shifts.to(cell.dtype) @ cell)[None, None, :, :]
    )
    near = vectors.square().sum(-1) < cutoff * cutoff
    home = (shifts == 0).all(1)
    itself = torch.eye(n, dtype=torch.bool, device=positions.device)[:, :, None] & home
    i, j, k = (near & ~itself).nonzero(as_tuple=True)
    return Pairs(torch.stack([i, j]), shifts[k])


def _images(positions: torch.Tensor, cell: torch.Tensor, pbc: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Integer shifts (K, 3) that can bring any two atoms, wrapped or not, within the cutoff.

    Two atoms d apart can be within reach by n translations along an axis only if abs(n) is at most
    (cutoff + d) / h, with h the height of the cell along that axis (that of the periodic axes alone).
    """
    periodic = torch.where(pbc[:, None], cell, 0.0)
    inverse = torch.linalg.pinv(periodic)
    per_length = inverse.norm(dim=0)  # 1/h of each axis
    n_max = torch.zeros(3, dtype=torch.int64, device=cell.device)
    if len(positions):
        fractional = positions @ inverse
        spread = fractional.amax(0) - fractional.amin(0)
        n_max = torch.where(pbc, torch.ceil(cutoff * per_length + spread).to(torch.int64), 0)
    ranges = [torch.arange(-int(n), int(n) + 1, device=cell.device) for n in n_max]
    return torch.cartesian_prod(*ranges).reshape(-1, 3)
