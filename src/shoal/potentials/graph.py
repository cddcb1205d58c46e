"""`Graph`: all that a short-range potential sees.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Graph:
    """Edge vectors and who they join.

    edge_vectors (E, 3) float64 A, r_j - r_i + shift @ cell; edge_index (2, E) int64, row 0 = centre i, row 1 =
    neighbour j, sorted by i; atom_types (N,) int64; system_index (N,) int64; charge (S,) e and spin (S,) where the
    state has them. `made`: what one model made of the edges alone, for others that see the same graph.
    `seam`: what that passes on its way to them.
    """

    edge_vectors: torch.Tensor
    edge_index: torch.Tensor
    atom_types: torch.Tensor
    system_index: torch.Tensor
    charge: torch.Tensor | None = None
    spin: torch.Tensor | None = None
    made: dict[Hashable, Any] = field(default_factory=dict)
    seam: Callable[[torch.Tensor], torch.Tensor] | None = None

    def with_edges(
        self, edge_vectors: torch.Tensor, seam: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> Graph:
        """The same with other edge vectors, of which nothing is made yet."""
        return replace(self, edge_vectors=edge_vectors, made={}, seam=seam)

    @property
    def n_atoms(self) -> int:
        return self.atom_types.shape[0]
