"""Explicit gradients of single atoms' energies, many atoms to a call.

N atoms, S systems, R rows (the chosen atoms), P properties (the members of a committee, else one), K gradient rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import check_gradients_are_taken
from shoal.potentials._receptive_fields import receptive_fields
from shoal.state import SimState

if TYPE_CHECKING:
    from shoal.potentials.base import Potential

EDGES_PER_CALL = {"cpu": 2**13, "cuda": 2**18}
"""What one call works on, or a single receptive field that is larger: what fits caches, what fills a GPU."""
EVALUATED = 2.0
"""What an edge costs that is evaluated and differentiated, over one that is differentiated only."""
OVERHEAD = 1000
"""What a call costs besides its edges, in edges that are differentiated."""


class AtomicGradients(NamedTuple):
    """row (K,) of the values and moved atom (K,), ascending by both; positions (K, 3, P); strain (R, 3, 3, P)."""

    row: torch.Tensor
    atom: torch.Tensor
    positions: torch.Tensor
    strain: torch.Tensor


def atomic_gradients(
    potential: Potential,
    state: SimState,
    neighbors: NeighborList,
    atom_types: torch.Tensor,
    chosen: torch.Tensor,
    *,
    each: bool = False,
) -> AtomicGradients:
    """dE_i/dr_j (eV/A) and dE_i/d(strain) (eV) of the chosen atoms (R,); atoms j that are not felt may be left out.

    `each`: of each member of an ensemble, else of their mean.

    Each receptive field is a system of a new batch, of which one call differentiates the central atoms' energies
    together. Where layers are many and systems small the fields are whole systems and their evaluation is the larger
    part: a differentiable potential is then evaluated once and differentiated for one atom of every system at a time.
    """
    hops = potential.capabilities.hops
    edges = _edges_of_fields(state, neighbors, chosen, hops)
    sizes = _sizes(edges, EDGES_PER_CALL[state.device.type])
    if _rounds_are_cheaper(potential, state, neighbors, chosen, float(edges.sum()), len(sizes)):
        return _by_rounds(potential, state, neighbors, atom_types, chosen, each)
    parts: list[AtomicGradients] = []
    first = 0
    for part in chosen.split(sizes):
        fields = receptive_fields(state, neighbors, part, hops)
        weights = fields.state.positions.new_zeros(fields.state.n_atoms).index_fill(0, fields.centre, 1.0)
        found = potential.energy_derivatives(
            fields.state, fields.neighbors, atom_types[fields.atom], weights, each=each
        )
        row = fields.state.system_index + first
        parts.append(AtomicGradients(row, fields.atom, found.positions_gradient, found.strain_gradient))
        first += len(part)
    return AtomicGradients(*map(torch.cat, zip(*parts, strict=True)))


def _edges_of_fields(state: SimState, neighbors: NeighborList, chosen: torch.Tensor, hops: int | None) -> torch.Tensor:
    """(R,) about how many edges each receptive field has: exact for one hop, the whole system's at most."""
    degree = (neighbors.offsets[1:] - neighbors.offsets[:-1]).to(torch.float64)
    of_system = degree.new_zeros(state.n_systems).index_add(0, state.system_index, degree)
    system = state.system_index[chosen]
    whole = of_system[system]
    if hops is None:
        return whole
    mean = (of_system / state.n_atoms_per_system.to(state.device))[system]
    return torch.minimum(whole, degree[chosen] if hops == 1 else (1 + degree[chosen]) * (1 + mean) ** (hops - 2) * mean)


def _sizes(edges: torch.Tensor, limit: int) -> list[int]:
    """Numbers of consecutive rows that have about `limit` edges together, one row at least; [0] for no rows."""
    call = ((edges.cumsum(0) - edges) / limit).floor()
    return torch.unique_consecutive(call, return_counts=True)[1].tolist() or [0]


def _rounds_are_cheaper(
    potential: Potential, state: SimState, neighbors: NeighborList, chosen: torch.Tensor, edges: float, calls: int
) -> bool:
    """Whether one evaluation and many backward passes through it cost less than `calls` on fields with `edges`."""
    if not len(chosen) or not potential.capabilities.quantities["energy"].differentiable:
        return False
    rounds = int(torch.bincount(state.system_index[chosen]).max())
    return EVALUATED * edges + OVERHEAD * calls > rounds * (neighbors.n_edges + OVERHEAD)


def _by_rounds(
    potential: Potential,
    state: SimState,
    neighbors: NeighborList,
    atom_types: torch.Tensor,
    chosen: torch.Tensor,
    each: bool,
) -> AtomicGradients:
    """One evaluation, then a backward pass for one chosen atom of every system at a time: no atom feels two systems."""
    check_gradients_are_taken()
    system = state.system_index[chosen]
    order = torch.argsort(system, stable=True)
    counts = torch.bincount(system, minlength=state.n_systems)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[system[order]]

    positions = state.positions.detach().requires_grad_(True)
    strain = torch.zeros_like(state.cell).requires_grad_(True)
    with torch.enable_grad():
        deformation = strain + torch.eye(3, dtype=strain.dtype, device=strain.device)
        deformed = state.replace(
            positions=(positions[:, None, :] @ deformation[state.system_index])[:, 0],
            cell=state.cell.detach() @ deformation,
        )
        energies = potential.energies(deformed, neighbors, atom_types)
        energies = energies if each else energies.mean(dim=1, keepdim=True)
    parts = []
    for turn in range(int(counts.max())):
        rows = (place == turn).nonzero()[:, 0]
        row_of_system = torch.full_like(counts, -1).index_copy(0, system[rows], rows)
        row = row_of_system[state.system_index]
        atoms = (row >= 0).nonzero()[:, 0]
        seed = torch.zeros_like(energies[:, 0]).index_fill(0, chosen[rows], 1.0)
        slopes = [
            torch.autograd.grad(energies[:, p], (positions, strain), seed, retain_graph=True)
            for p in range(energies.shape[1])
        ]
        moved, strained = (torch.stack(members, dim=-1) for members in zip(*slopes, strict=True))
        parts.append((row[atoms], atoms, moved[atoms], rows, strained[system[rows]]))
    row, atom, moved, rows, strained = map(torch.cat, zip(*parts, strict=True))
    by_row = torch.argsort(row, stable=True)
    return AtomicGradients(row[by_row], atom[by_row], moved[by_row], strained[torch.argsort(rows)])
