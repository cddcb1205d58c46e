"""No degree of freedom of the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from shoal.constraints import hold_forces
from shoal.motion import Systems
from shoal.relaxation.filters.base import CellFilter, Placement, deformed
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState


@dataclass(frozen=True)
class FixedCell(CellFilter):
    """The cell stays; atoms move in Cartesian coordinates."""

    moves_cell: ClassVar[bool] = False

    def init(self, systems: Systems, start: RelaxState) -> DeformedState:
        nothing = torch.zeros_like(start.cell)
        identity = torch.eye(3, dtype=start.cell.dtype, device=start.cell.device).expand_as(nothing)
        return deformed(start, identity, nothing, nothing, nothing, torch.zeros_like(start.energy))

    def coordinates(self, state: DeformedState, systems: Systems) -> Coordinates:
        return Coordinates(state.positions, state.rows)

    def forces(self, state: DeformedState, systems: Systems) -> Coordinates:
        return Coordinates(hold_forces(state.forces, systems), torch.zeros_like(state.cell))

    def place(self, at: Coordinates, state: DeformedState, systems: Systems) -> Placement:
        return Placement(at.atoms, state.cell, state.deformation, state.rows)

    def unbalanced(self, state: DeformedState) -> torch.Tensor:
        return torch.zeros_like(state.cell)
