"""Many atoms' surroundings as systems of one batch, so that one call differentiates the energy of each by itself.

N atoms, E edges, R chosen atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.neighbors import NeighborList
from shoal.state import SimState


@dataclass(frozen=True, eq=False)
class ReceptiveFields:
    """One system per chosen atom: all atoms that its energy depends on, with the edges through which it does.

    atom: row of each of their atoms in the packed state; centre (R,): row of each chosen atom in this batch. The
    energy of a chosen atom is that in the whole structure, energies of the others are not.
    """

    state: SimState
    neighbors: NeighborList
    atom: torch.Tensor
    centre: torch.Tensor


def receptive_fields(
    state: SimState, neighbors: NeighborList, chosen: torch.Tensor, hops: int | None
) -> ReceptiveFields:
    """Those of the chosen atoms (R,), each the atoms within `hops` edges; the whole system where that is None."""
    n = max(state.n_atoms, 1)
    offsets = neighbors.offsets
    rank = torch.arange(len(chosen), device=state.device)
    start = rank * n + chosen  # an atom of a field is the number field * n + atom, so that sorting orders by both
    if hops is None:
        centres = nodes = _whole_systems(state, chosen, n)
        edges, owner = _edges_of(centres % n, offsets)
    else:
        centres = start
        for _ in range(hops - 1):
            edges, owner = _edges_of(centres % n, offsets)
            found = centres[owner] // n * n + neighbors.edge_index[1, edges]
            centres = torch.unique(torch.cat([centres, found]))
        edges, owner = _edges_of(centres % n, offsets)
        found = centres[owner] // n * n + neighbors.edge_index[1, edges]
        nodes = torch.unique(torch.cat([centres, found]))
    field = centres[owner] // n
    ends = torch.stack([centres[owner], field * n + neighbors.edge_index[1, edges]])
    batch = _batch(state, atom=nodes % n, field=nodes // n, chosen=chosen)
    listed = NeighborList(
        edge_index=torch.searchsorted(nodes, ends),
        shifts=neighbors.shifts[edges],
        system_index=batch.system_index,
        positions=batch.positions,
        cell=batch.cell,
        pbc=batch.pbc,
        cutoff=neighbors.cutoff,
    )
    return ReceptiveFields(batch, listed, nodes % n, torch.searchsorted(nodes, start))


def _edges_of(atoms: torch.Tensor, offsets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All edges centred on some atoms (M,), in their order: indices of the edges, and of their centres in `atoms`."""
    counts = offsets[atoms + 1] - offsets[atoms]
    owner = torch.repeat_interleave(torch.arange(len(atoms), device=atoms.device), counts)
    first = counts.cumsum(0) - counts
    return offsets[atoms][owner] + torch.arange(len(owner), device=atoms.device) - first[owner], owner


def _whole_systems(state: SimState, chosen: torch.Tensor, n: int) -> torch.Tensor:
    offsets = state.offsets.to(state.device)
    atoms, owner = _edges_of(state.system_index[chosen], offsets)
    return owner * n + atoms


def _batch(state: SimState, atom: torch.Tensor, field: torch.Tensor, chosen: torch.Tensor) -> SimState:
    system = state.system_index[chosen]
    counts = torch.bincount(field, minlength=len(chosen)).cpu()

    def of_system(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[system]

    return SimState(
        positions=state.positions.detach()[atom],
        cell=state.cell.detach()[system],
        pbc=state.pbc[system],
        atomic_numbers=state.atomic_numbers[atom],
        masses=state.masses[atom],
        system_index=field,
        system_id=torch.arange(len(chosen), device=state.device),
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        charge=of_system(state.charge),
        spin=of_system(state.spin),
    )
