"""What every neighbour-list backend takes and returns.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Geometry(NamedTuple):
    """Systems to find pairs in: positions (N, 3) and cell (S, 3, 3) float64 A, rows of open axes zero; pbc (S, 3);
    system_index (N,); offsets (S+1,) on the host."""

    positions: torch.Tensor
    cell: torch.Tensor
    pbc: torch.Tensor
    system_index: torch.Tensor
    offsets: torch.Tensor

    @property
    def n_systems(self) -> int:
        return self.cell.shape[0]

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def device(self) -> torch.device:
        return self.positions.device

    def on_host(self) -> Geometry:
        """The same on the CPU."""
        return Geometry(*(values.cpu() for values in self))


class Pairs(NamedTuple):
    """Directed pairs of a packed state: edge_index (2, E) int64 sorted by centre, shifts (E, 3) int64.

    offsets (N+1,) and reverse (E,) int64 as NeighborList has them, from backends that make them on the way.
    """

    edge_index: torch.Tensor
    shifts: torch.Tensor
    offsets: torch.Tensor | None = None
    reverse: torch.Tensor | None = None

    @classmethod
    def empty(cls, device: torch.device | str = "cpu") -> Pairs:
        zeros = torch.zeros(2, 0, dtype=torch.int64, device=device)
        return cls(zeros, torch.zeros(0, 3, dtype=torch.int64, device=device))
