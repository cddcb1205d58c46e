"""What every neighbour-list backend returns."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Pairs(NamedTuple):
    """Directed pairs of a packed state: edge_index (2, E) int64 sorted by centre, shifts (E, 3) int64."""

    edge_index: torch.Tensor
    shifts: torch.Tensor

    @classmethod
    def empty(cls, device: torch.device | str = "cpu") -> Pairs:
        zeros = torch.zeros(2, 0, dtype=torch.int64, device=device)
        return cls(zeros, torch.zeros(0, 3, dtype=torch.int64, device=device))
