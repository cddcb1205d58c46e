"""What every neighbour-list backend returns."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Pairs(NamedTuple):
    """Directed pairs of a packed state, sorted by centre: i (E,), j (E,) int64, shifts (E, 3) int64."""

    i: torch.Tensor
    j: torch.Tensor
    shifts: torch.Tensor

    @classmethod
    def empty(cls) -> Pairs:
        index = torch.zeros(0, dtype=torch.int64)
        return cls(index, index, torch.zeros(0, 3, dtype=torch.int64))
