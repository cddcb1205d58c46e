"""Keeping a neighbour list up while systems move: which are due, and new pairs for those alone.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shoal.neighbors.build import neighbor_list
from shoal.neighbors.native import native_copy
from shoal.neighbors.neighbor_list import NeighborList
from shoal.neighbors.pairs import Pairs
from shoal.state import SimState, select


def refreshed(neighbors: NeighborList, state: SimState, systems: torch.Tensor) -> NeighborList:
    """The list with the pairs of some systems (S,) bool found anew, at their positions and cells in `state`.

    Raises InputError naming a system whose positions or cell are not finite.
    """
    if bool(systems.all()):
        return neighbor_list(state, neighbors.cutoff, neighbors.skin)
    part = neighbor_list(select(state, systems), neighbors.cutoff, neighbors.skin)
    source = systems.to(torch.int64)
    here = torch.arange(len(systems), device=systems.device)
    return _assembled([neighbors, part], source, torch.where(systems, source.cumsum(0) - 1, here))


def taken(neighbors: NeighborList, systems: torch.Tensor) -> NeighborList:
    """The list of some systems, given by ascending int64 indices."""
    return _assembled([neighbors], torch.zeros_like(systems), systems)


def joined(lists: Sequence[NeighborList]) -> NeighborList:
    """One list of the systems of all, in order; all of one cutoff and skin."""
    if len(lists) == 1:
        return lists[0]
    sizes = torch.tensor([part.cell.shape[0] for part in lists], device=lists[0].cell.device)
    source = torch.repeat_interleave(torch.arange(len(lists), device=sizes.device), sizes)
    return _assembled(lists, source, _ranges(torch.zeros_like(sizes), sizes))


def _assembled(lists: Sequence[NeighborList], source: torch.Tensor, system: torch.Tensor) -> NeighborList:
    """The list of systems that are each a `system` (S,) of the list `source` (S,) among several."""
    n_atoms = [torch.bincount(part.system_index, minlength=part.cell.shape[0]) for part in lists]
    first_atom = [n.cumsum(0) - n for n in n_atoms]
    first_edge = [
        part.offsets[torch.cat([first, first.new_tensor([len(part.positions)])])]
        for part, first in zip(lists, first_atom, strict=True)
    ]
    row = system + _starts([part.cell.shape[0] for part in lists], source)
    atoms, first = torch.cat(n_atoms)[row], torch.cat(first_atom)[row]
    edges = torch.cat([bounds.diff() for bounds in first_edge])[row]
    atoms_here, edges_here = atoms.cumsum(0) - atoms, edges.cumsum(0) - edges
    if all(part.is_native for part in lists):
        blocks = torch.stack([source, first, atoms, atoms_here], dim=1)
        known = [part.pairs._replace(reverse=part.reverse) for part in lists]
        pairs = native_copy(known, blocks, torch.cat([edges_here, edges.sum()[None]]))
    else:
        there = torch.cat([bounds[:-1] for bounds in first_edge])[row] + _starts([p.n_edges for p in lists], source)
        chosen = _ranges(there, edges)
        moved = torch.repeat_interleave(atoms_here - first, edges)
        edge_index = torch.cat([part.edge_index for part in lists], dim=1)[:, chosen] + moved
        pairs = Pairs(edge_index, torch.cat([part.shifts for part in lists])[chosen])
    rows = _ranges(first + _starts([len(part.positions) for part in lists], source), atoms)
    assembled = NeighborList(
        edge_index=pairs.edge_index,
        shifts=pairs.shifts,
        system_index=torch.repeat_interleave(torch.arange(len(row), device=row.device), atoms),
        positions=torch.cat([part.positions for part in lists])[rows],
        cell=torch.cat([part.cell for part in lists])[row],
        pbc=torch.cat([part.pbc for part in lists])[row],
        cutoff=lists[0].cutoff,
        skin=lists[0].skin,
    )
    return assembled.with_rows(pairs.offsets, pairs.reverse)


def _starts(sizes: Sequence[int], source: torch.Tensor) -> torch.Tensor:
    """Where the part `source` (S,) begins in parts of some sizes one behind the other."""
    ends = torch.tensor([0, *sizes], device=source.device).cumsum(0)
    return ends[source]


def _ranges(first: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """first[0], first[0] + 1 ... `counts` of each, one behind the other."""
    steps = torch.repeat_interleave(first - counts.cumsum(0) + counts, counts)
    return steps + torch.arange(len(steps), device=steps.device)
