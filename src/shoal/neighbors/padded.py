"""A neighbour list as a matrix, with every neighbour an atom or an image of one: no edges, nothing to add up by index.

N atoms, M the most neighbours of an atom, I images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.neighbors.neighbor_list import NeighborList

FAR = 1e8
"""Coordinate (A) of the image that fills rows up; any potential is zero there, with finite derivatives."""


@dataclass(frozen=True, eq=False)
class PaddedNeighbors:
    """neighbor (N, M) int64: for each atom the images next to it, the last image filling up; owner (I,) int64, the atom
    that each image is of; shift (I, 3) float64, the lattice translation it is displaced by.

    The image that fills up is number I, one more than there are.
    """

    neighbor: torch.Tensor
    owner: torch.Tensor
    shift: torch.Tensor

    def images(self, positions: torch.Tensor, translations: torch.Tensor) -> torch.Tensor:
        """(I + 1, 3) A: where the images are, given their translations (I, 3) A."""
        placed = positions[self.owner] + translations
        return torch.cat([placed, torch.full_like(placed[:1], FAR)])

    def translations(self, cell: torch.Tensor, system_index: torch.Tensor) -> torch.Tensor:
        """(I, 3) A: shift @ cell, for cells (S, 3, 3)."""
        return (self.shift[:, :, None] * cell[system_index[self.owner]]).sum(1)


def padded(neighbors: NeighborList) -> PaddedNeighbors:
    """The same pairs, in the same order within each row."""
    centre, other = neighbors.edge_index
    n_atoms = neighbors.positions.shape[0]
    image, owner, shift = _images(other, neighbors.shifts, n_atoms)
    counts = neighbors.offsets.diff()
    widest = max(2, int(counts.max())) if n_atoms else 2
    column = torch.arange(len(centre), device=centre.device) - neighbors.offsets[centre]
    matrix = torch.full((n_atoms, widest), len(owner), dtype=torch.int64, device=centre.device)
    matrix[centre, column] = image
    return PaddedNeighbors(matrix, owner, shift)


def _images(other: torch.Tensor, shifts: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each edge its image (E,), and for each image its atom (I,) and lattice translation (I, 3)."""
    if not len(other):
        return other, other.new_zeros(1), shifts.new_zeros(1, 3).to(torch.float64)
    low = shifts.amin(0)
    extent = shifts.amax(0) - low + 1
    cells = int(extent.prod())
    steps = shifts - low
    key = ((steps[:, 0] * extent[1] + steps[:, 1]) * extent[2] + steps[:, 2]) + other * cells
    if n_atoms * cells <= 4 * len(other) + 1024:  # a table is faster than sorting, where it is not mostly empty
        used = torch.zeros(n_atoms * cells, dtype=torch.bool, device=other.device)
        used[key] = True
        keys = used.nonzero()[:, 0]
        image = (used.cumsum(0) - 1)[key]
    else:
        keys, image = torch.unique(key, return_inverse=True)
    place = keys % cells
    parts = (place // (extent[1] * extent[2]), place // extent[2] % extent[1], place % extent[2])
    return image, keys // cells, (torch.stack(parts, dim=1) + low).to(torch.float64)
