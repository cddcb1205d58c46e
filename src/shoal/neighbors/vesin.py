"""CPU neighbour lists by vesin, one system at a time."""

from __future__ import annotations

import numpy as np
import torch

from shoal.neighbors.pairs import Pairs
from shoal.state import SimState


def vesin_pairs(state: SimState, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), sorted by centre: i (E,), j (E,), shifts (E, 3), on the host."""
    from vesin import NeighborList

    builder = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    positions, cell, pbc = state.positions.numpy(), state.cell.numpy(), state.pbc.numpy()
    offsets = state.offsets.tolist()
    parts = []
    for s in range(state.n_systems):
        points = positions[offsets[s] : offsets[s + 1]]
        if len(points) == 0:
            continue
        i, j, shifts = builder.compute(points, cell[s], pbc[s], "ijS")
        parts.append((i.astype(np.int64) + offsets[s], j.astype(np.int64) + offsets[s], shifts.astype(np.int64)))
    if not parts:
        return Pairs.empty()
    i, j, shifts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pairs(torch.from_numpy(i), torch.from_numpy(j), torch.from_numpy(shifts))
