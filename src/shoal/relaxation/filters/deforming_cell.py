"""What the filters have in common that move the cell.

N atoms, S systems. ASE's deformation gradient is the transposed of the deformation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from shoal.constraints import hold_forces
from shoal.matrix_functions import inverse3, product3
from shoal.motion import PerSystem, Systems
from shoal.potentials._derivatives import cell_volume
from shoal.relaxation.filters.base import CellFilter, Placement, deformed
from shoal.relaxation.filters.directions import check_mask, mask_of, periodic_span, pressure_of
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState


@dataclass(frozen=True)
class DeformingCell(CellFilter):
    """What the filters that move the cell have in common.

    `pressure`: external, GPa, one for all or one for each system. `strain_mask`: components of the strain that may
    change, 6 (xx, yy, zz, yz, xz, xy) or 3 x 3 symmetric. `hydrostatic_strain`: the cell keeps its shape.
    `constant_volume`: it keeps its volume, to first order in each step.

    Atoms follow the cell: those that are fixed keep their fractional coordinates, as with ASE. A system deforms in
    the directions in which it is periodic only: the other rows of its cell stay as they are, and a system without any
    periodic direction moves its atoms only. Of a slab it is the shape and the area that are kept, and a pressure counts
    by the volume of its cell, as with ASE.
    """

    pressure: PerSystem = 0.0
    strain_mask: Sequence[float] | Sequence[Sequence[float]] | None = None
    hydrostatic_strain: bool = False
    constant_volume: bool = False

    def __post_init__(self) -> None:
        mask_of(self.strain_mask)

    @property
    def step_key(self) -> Hashable:
        return type(self), self.strain_mask is None, self.hydrostatic_strain, self.constant_volume

    def init(self, systems: Systems, start: RelaxState) -> DeformedState:
        like = start.cell
        identity = torch.eye(3, dtype=like.dtype, device=like.device).expand_as(like)
        mask = torch.as_tensor(mask_of(self.strain_mask), dtype=like.dtype, device=like.device).expand_as(like)
        span = periodic_span(like, systems.pbc)
        if self.strain_mask is not None:
            check_mask(mask, span, systems)
        pressure = pressure_of(self.pressure, systems, start)
        return deformed(start, identity, self.undeformed(like), span, mask, pressure)

    @abstractmethod
    def undeformed(self, cell: torch.Tensor) -> torch.Tensor:
        """(S, 3, 3): the filter's coordinates of cells at their reference."""

    @abstractmethod
    def deform(self, rows: torch.Tensor, state: DeformedState) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, 3, 3) twice: the deformation at the filter's `rows` of the cell, and the rows that describe it."""

    @abstractmethod
    def row_forces(self, state: DeformedState) -> torch.Tensor:
        """(S, 3, 3): the negative gradient of the enthalpy in the rows, before the cell factor."""

    def coordinates(self, state: DeformedState, systems: Systems) -> Coordinates:
        inverse = inverse3(state.deformation)
        return Coordinates(_transformed(state.positions, inverse, systems), state.rows * _cell_factor(systems))

    def forces(self, state: DeformedState, systems: Systems) -> Coordinates:
        held = hold_forces(state.forces, systems)
        atoms = _transformed(held, state.deformation.transpose(1, 2), systems)
        return Coordinates(atoms, self.row_forces(state) / _cell_factor(systems))

    def place(self, at: Coordinates, state: DeformedState, systems: Systems) -> Placement:
        deformation, rows = self.deform(at.rows / _cell_factor(systems), state)
        cell = torch.where(systems.pbc[:, :, None], product3(state.reference, deformation), state.reference)
        return Placement(_transformed(at.atoms, deformation, systems), cell, deformation, rows)

    def unbalanced(self, state: DeformedState) -> torch.Tensor:
        allowed = self.only_hydrostatic(drive(state), state) * state.strain_mask
        return self.without_volume(allowed, state)

    def only_hydrostatic(self, tensor: torch.Tensor, state: DeformedState) -> torch.Tensor:
        """Its mean over the periodic directions if the strain is hydrostatic, else itself; (S, 3, 3)."""
        return _mean(tensor, state.span) if self.hydrostatic_strain else tensor

    def without_volume(self, tensor: torch.Tensor, state: DeformedState) -> torch.Tensor:
        """Without its mean over the periodic directions if the volume is to stay, else itself; (S, 3, 3)."""
        return tensor - _mean(tensor, state.span) if self.constant_volume else tensor


def drive(state: DeformedState) -> torch.Tensor:
    """(S, 3, 3) eV: virial - pressure * volume, symmetric, within the periodic directions."""
    virial = 0.5 * (state.virial + state.virial.transpose(1, 2))
    pressed = (state.pressure * cell_volume(state.cell))[:, None, None] * state.span
    return _within(virial, state.span) - pressed


def masked_deformation(gradient: torch.Tensor, state: DeformedState) -> torch.Tensor:
    """(S, 3, 3): the deformation of a deformation gradient in the components and directions that may change."""
    identity = torch.eye(3, dtype=gradient.dtype, device=gradient.device)
    strain = (gradient.transpose(1, 2) - identity) * state.strain_mask
    return identity + _within(strain, state.span)


def _within(tensor: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): its part in the periodic directions."""
    return product3(product3(span, tensor), span)


def _mean(tensor: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the projector on the periodic directions times the mean of the tensor over them."""
    directions = torch.diagonal(span, dim1=1, dim2=2).sum(1)
    trace = torch.diagonal(tensor, dim1=1, dim2=2).sum(1)
    return (trace / directions.clamp(min=1))[:, None, None] * span


def _cell_factor(systems: Systems) -> torch.Tensor:
    """(S, 1, 1): what brings the cell's coordinates to the scale of the atoms', ASE's default."""
    return systems.n_atoms.clamp(min=1).to(torch.float64)[:, None, None]


def _transformed(vectors: torch.Tensor, matrix: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3): row vectors of atoms (N, 3) times their system's matrix (S, 3, 3)."""
    return (vectors[:, :, None] * systems.of_atoms(matrix)).sum(1)
