"""Heat flux of every system: J = sum_i (E_i + K_i) v_i + sum_ij (r_i - r_j) (dE_i/dr_j . v_j).

The time derivative of sum_i r_i (E_i + K_i), written so that it holds in periodic cells.
Source: M. F. Langer, F. Knoop, C. Carbogno, M. Scheffler, M. Rupp, Phys. Rev. B 108, L100302 (2023), eqs. 3 and 6.
N atoms, E edges, S systems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from shoal.errors import InputError
from shoal.neighbors import NeighborList, neighbor_list
from shoal.nn.segments import segment_sum
from shoal.state import SimState
from shoal.units import KINETIC

if TYPE_CHECKING:
    from shoal.potentials.base import Potential


def heat_flux(potential: Potential, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
    """(S, 3) eV A/fs, convective part included, not divided by a volume. Raises InputError without velocities."""
    velocities = _velocities(state)
    with torch.no_grad():
        energy = potential.energies(state, neighbors, atom_types).mean(dim=1)
    kinetic = 0.5 * state.masses * velocities.square().sum(1) * KINETIC
    convective = segment_sum((energy + kinetic)[:, None] * velocities, state.system_index, state.n_systems)
    return convective + potential.potential_heat_flux(state, neighbors, atom_types)


def split_flux(
    vectors: torch.Tensor, gradient: torch.Tensor, edge_index: torch.Tensor, state: SimState
) -> torch.Tensor:
    """The potential part where E_i depends on the edges centred on i only: -sum over edges of r_ij (dE_i/dr_ij . v_j).

    vectors (E, 3) A and the gradient in them (E, 3) eV/A.
    """
    power = (gradient * _velocities(state)[edge_index[1]]).sum(1, keepdim=True)
    per_atom = segment_sum(-vectors * power, edge_index[0], state.n_atoms)
    return segment_sum(per_atom, state.system_index, state.n_systems)


def unfolded_flux(potential: Potential, state: SimState, atom_types: torch.Tensor) -> torch.Tensor:
    """The potential part of any potential, on the structure with all images that its atoms feel as atoms.

    There it is sum_j ((dB/dr_j) v_j - r_j (dU/dr_j . v_j)), B = sum_i r_i E_i with fixed r_i and U = sum_i E_i over
    the structure's own atoms, which energy weights single out.
    """
    unfolded, atom, own = _unfold(state, potential.capabilities.interaction_range)
    neighbors = neighbor_list(unfolded, potential.cutoff)
    centre = segment_sum(state.positions, state.system_index, state.n_systems)
    centre = centre / state.n_atoms_per_system.clamp(min=1).to(state.device)[:, None]
    positions = unfolded.positions - centre[unfolded.system_index]  # no origin matters, and small numbers round less
    velocities = _velocities(state)[atom]

    def power(weights: torch.Tensor) -> torch.Tensor:
        found = potential.energy_derivatives(unfolded, neighbors, atom_types[atom], weights * own)
        return (found.positions_gradient.mean(dim=2) * velocities).sum(1)

    barycentre = torch.stack([power(coordinate) for coordinate in positions.unbind(1)], dim=1)
    total = positions * power(torch.ones_like(own))[:, None]
    return segment_sum(barycentre - total, unfolded.system_index, state.n_systems)


def _unfold(state: SimState, reach: float) -> tuple[SimState, torch.Tensor, torch.Tensor]:
    """Systems without periodicity that hold all images within `reach` of their atoms.

    Also the atom each is an image of, and 1 for the atoms themselves, 0 for images.
    """
    pairs = neighbor_list(state, reach)
    themselves = torch.arange(state.n_atoms, device=state.device)
    images = torch.cat([pairs.edge_index[1], themselves])
    shifts = torch.cat([pairs.shifts, pairs.shifts.new_zeros(state.n_atoms, 3)])
    image = torch.unique(torch.cat([images[:, None], shifts], dim=1), dim=0)  # by atom, so systems stay together
    atom, shift = image[:, 0], image[:, 1:]
    system = state.system_index[atom]
    translation = (shift.to(state.dtype)[:, :, None] * state.cell[system]).sum(1)
    unfolded = SimState.build(
        positions=(state.positions[atom] + translation).detach(),
        atomic_numbers=state.atomic_numbers[atom],
        n_atoms=torch.bincount(system, minlength=state.n_systems).tolist(),
        masses=state.masses[atom],
        charge=state.charge,
        spin=state.spin,
    )
    return unfolded, atom, (shift == 0).all(1).to(state.dtype)


def _velocities(state: SimState) -> torch.Tensor:
    if state.velocities is None:
        raise InputError("a heat flux needs velocities, and the state has none")
    return state.velocities
