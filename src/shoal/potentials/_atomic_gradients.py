"""Explicit gradients of single atoms' energies, many atoms to a call.

N atoms, S systems, R rows (the chosen atoms), P properties (the members of a committee, else one), K gradient rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch

from shoal.neighbors import NeighborList
from shoal.potentials._receptive_fields import ReceptiveFields, receptive_fields
from shoal.state import SimState

if TYPE_CHECKING:
    from shoal.potentials.base import Potential

EDGES_PER_CALL = {"cpu": 2**13, "cuda": 2**18}
"""What one call works on at once, if no single receptive field is larger: what fits caches, what fills a GPU."""
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
    """dE_i/dr_j (eV/A) and dE_i/d(strain) (eV) of the chosen atoms (R,), atoms j that are not felt left out.

    `each`: of each member of an ensemble, else of their mean.

    Each receptive field is a system of a new batch, of which one call differentiates the central atoms' energies
    together. Where layers are many and systems small the fields are whole systems and their evaluation is the larger
    part: a differentiable potential is then evaluated once and differentiated for one atom of every system at a time.
    """
    hops = potential.capabilities.hops
    parts: list[AtomicGradients] = []
    for first, fields in _chunks(state, neighbors, chosen, hops):
        if not parts and _rounds_are_cheaper(potential, state, neighbors, chosen, fields):
            return _by_rounds(potential, state, neighbors, atom_types, chosen, each)
        weights = fields.state.positions.new_zeros(fields.state.n_atoms).index_fill(0, fields.centre, 1.0)
        found = potential.energy_derivatives(
            fields.state, fields.neighbors, atom_types[fields.atom], weights, each=each
        )
        parts.append(
            AtomicGradients(
                fields.state.system_index + first, fields.atom, found.positions_gradient, found.strain_gradient
            )
        )
    return AtomicGradients(*map(torch.cat, zip(*parts, strict=True)))


def _chunks(
    state: SimState, neighbors: NeighborList, chosen: torch.Tensor, hops: int | None
) -> Iterator[tuple[int, ReceptiveFields]]:
    """Receptive fields of consecutive rows, and the first of these rows; one chunk at least."""
    whole = neighbors.n_edges / max(state.n_systems, 1)
    expected = whole if hops is None else min(whole, (neighbors.n_edges / max(state.n_atoms, 1)) ** hops)
    size = max(1, int(EDGES_PER_CALL[state.device.type] / max(expected, 1)))
    for first in range(0, max(len(chosen), 1), size):
        yield first, receptive_fields(state, neighbors, chosen[first : first + size], hops)


def _rounds_are_cheaper(
    potential: Potential, state: SimState, neighbors: NeighborList, chosen: torch.Tensor, fields: ReceptiveFields
) -> bool:
    """Whether one evaluation and many backward passes through it cost less than calls on receptive fields."""
    if not len(chosen) or not potential.capabilities.quantities["energy"].differentiable:
        return False
    calls = len(chosen) / len(fields.centre)
    rounds = int(torch.bincount(state.system_index[chosen]).max())
    return calls * (EVALUATED * fields.neighbors.n_edges + OVERHEAD) > rounds * (neighbors.n_edges + OVERHEAD)


def _by_rounds(
    potential: Potential,
    state: SimState,
    neighbors: NeighborList,
    atom_types: torch.Tensor,
    chosen: torch.Tensor,
    each: bool,
) -> AtomicGradients:
    """One evaluation, then a backward pass for one chosen atom of every system at a time: no atom feels two systems."""
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
