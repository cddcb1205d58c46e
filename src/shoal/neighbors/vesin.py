"""CPU neighbour lists by vesin, one system at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from shoal.neighbors.pairs import Geometry, Pairs


def vesin_pairs(geometry: Geometry, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), sorted by centre, on the host."""
    from vesin import NeighborList

    builder = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    positions, cell, pbc = geometry.positions.numpy(), geometry.cell.numpy(), geometry.pbc.numpy()
    offsets = geometry.offsets.tolist()
    indices, shifts = [], []
    for s, (start, end) in enumerate(pairwise(offsets)):
        if start == end:
            continue
        # views of the builder's memory, which the next system overwrites
        pairs, images = builder.compute(positions[start:end], cell[s], pbc[s], "PS", copy=False)
        indices.append(pairs.view(np.int64).T + start)
        shifts.append(images.astype(np.int64))
    if not indices:
        return Pairs.empty()
    edge_index = np.empty((2, sum(map(len, shifts))), dtype=np.int64)  # row by row, which concatenate would not make
    np.concatenate(indices, axis=1, out=edge_index)
    return Pairs(torch.from_numpy(edge_index), torch.from_numpy(np.concatenate(shifts)))
