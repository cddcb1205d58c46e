"""Keeping a neighbour list up while systems move: which are due, and new pairs for those alone.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch

from shoal.neighbors.build import neighbor_list
from shoal.neighbors.neighbor_list import NeighborList
from shoal.state import SimState, select


def refreshed(neighbors: NeighborList, state: SimState, systems: torch.Tensor) -> NeighborList:
    """The list with the pairs of some systems (S,) bool found anew, at their positions and cells in `state`.

    Raises InputError naming a system whose positions or cell are not finite.
    """
    if bool(systems.all()):
        return neighbor_list(state, neighbors.cutoff, neighbors.skin)
    part = neighbor_list(select(state, systems), neighbors.cutoff, neighbors.skin)
    renewed = systems[neighbors.system_index]
    atoms = renewed.nonzero()[:, 0]
    counts = neighbors.offsets.diff()
    counts[atoms] = part.offsets.diff()
    start = counts.cumsum(0) - counts
    centre, other = neighbors.edge_index
    old = (~renewed[centre]).nonzero()[:, 0]
    parts = (
        (centre[old], other[old], neighbors.shifts[old], old - neighbors.offsets[centre[old]]),
        (
            atoms[part.edge_index[0]],
            atoms[part.edge_index[1]],
            part.shifts,
            torch.arange(part.n_edges, device=atoms.device) - part.offsets[part.edge_index[0]],
        ),
    )
    n_edges = sum(len(edges[0]) for edges in parts)
    edge_index = centre.new_empty(2, n_edges)
    shifts = neighbors.shifts.new_empty(n_edges, 3)
    for i, j, shift, rank in parts:
        row = start[i] + rank
        edge_index[0, row], edge_index[1, row], shifts[row] = i, j, shift
    return replace(
        neighbors,
        edge_index=edge_index,
        shifts=shifts,
        positions=neighbors.positions.index_copy(0, atoms, part.positions),
        cell=neighbors.cell.index_copy(0, systems.nonzero()[:, 0], part.cell),
    )


def taken(neighbors: NeighborList, systems: torch.Tensor) -> NeighborList:
    """The list of some systems, given by ascending int64 indices."""
    chosen = torch.zeros(neighbors.cell.shape[0], dtype=torch.bool, device=systems.device).index_fill(0, systems, True)
    atoms = chosen[neighbors.system_index]
    edges = atoms[neighbors.edge_index[0]]
    return NeighborList(
        edge_index=(atoms.cumsum(0) - 1)[neighbors.edge_index[:, edges]],
        shifts=neighbors.shifts[edges],
        system_index=(chosen.cumsum(0) - 1)[neighbors.system_index[atoms]],
        positions=neighbors.positions[atoms],
        cell=neighbors.cell[systems],
        pbc=neighbors.pbc[systems],
        cutoff=neighbors.cutoff,
        skin=neighbors.skin,
    )


def joined(lists: Sequence[NeighborList]) -> NeighborList:
    """One list of the systems of all, in order; all of one cutoff and skin."""
    if len(lists) == 1:
        return lists[0]
    atoms = [0, *accumulate(part.positions.shape[0] for part in lists)]
    systems = [0, *accumulate(part.cell.shape[0] for part in lists)]
    return NeighborList(
        edge_index=torch.cat([part.edge_index + k for part, k in zip(lists, atoms, strict=False)], dim=1),
        shifts=torch.cat([part.shifts for part in lists]),
        system_index=torch.cat([part.system_index + k for part, k in zip(lists, systems, strict=False)]),
        positions=torch.cat([part.positions for part in lists]),
        cell=torch.cat([part.cell for part in lists]),
        pbc=torch.cat([part.pbc for part in lists]),
        cutoff=lists[0].cutoff,
        skin=lists[0].skin,
    )
