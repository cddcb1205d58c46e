"""Distances as shares of the cutoff, one for all pairs or one per ordered pair of atom types.

E edges, N atoms, T types.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EdgeCutoffs(nn.Module):
    """r / r_c, where r_c may depend on the types of centre and neighbour; a share of 1 or more is out of reach."""

    by_types: Tensor

    def __init__(self, cutoff: float, per_edge_type: Sequence[Sequence[float]] | None = None) -> None:
        """`per_edge_type`: (T, T) A, [centre][neighbour]."""
        super().__init__()
        self.cutoff, self.uniform = cutoff, per_edge_type is None
        table = torch.tensor(per_edge_type if per_edge_type is not None else [[cutoff]], dtype=torch.float64)
        self.register_buffer("by_types", table, persistent=False)

    def forward(self, distances: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Shares (E,) of distances (E,) float64 A; edge_index (2, E), atom_types (N,) int64."""
        if self.uniform:
            return distances / self.cutoff
        return distances / self.by_types[atom_types[edge_index[0]], atom_types[edge_index[1]]]
