"""What every cell filter is: the coordinates in which a system is relaxed, and the forces on them.

N atoms, S systems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import fields
from typing import ClassVar, NamedTuple

import torch

from shoal.motion import Systems
from shoal.potentials._derivatives import cell_volume
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState


class Placement(NamedTuple):
    """Where generalised coordinates put the atoms (N, 3) A and the cell (S, 3, 3) A, and the filter's variables."""

    positions: torch.Tensor
    cell: torch.Tensor
    deformation: torch.Tensor
    rows: torch.Tensor


class CellFilter(ABC):
    """Which degrees of freedom of the cell move, and in which coordinates; a subclass is a frozen dataclass."""

    moves_cell: ClassVar[bool] = True

    @property
    def step_key(self) -> Hashable:
        """Filters with equal keys take the same operations; other parameters lie in the state."""
        return type(self)

    @abstractmethod
    def init(self, systems: Systems, start: RelaxState) -> DeformedState:
        """The state to step from. Raises InputError for parameters."""

    @abstractmethod
    def coordinates(self, state: DeformedState, systems: Systems) -> Coordinates:
        """Where the system is."""

    @abstractmethod
    def forces(self, state: DeformedState, systems: Systems) -> Coordinates:
        """The negative gradient of the enthalpy in the coordinates, eV/A, constraints held."""

    @abstractmethod
    def place(self, at: Coordinates, state: DeformedState, systems: Systems) -> Placement:
        """The structure at other coordinates."""

    @abstractmethod
    def unbalanced(self, state: DeformedState) -> torch.Tensor:
        """(S, 3, 3) eV: virial - pressure * volume in the components that may change, which vanishes at the end."""

    def enthalpy(self, state: DeformedState) -> torch.Tensor:
        """(S,) eV: energy + pressure * volume, what is minimised."""
        return state.energy + state.pressure * cell_volume(state.cell)


def deformed(
    start: RelaxState,
    deformation: torch.Tensor,
    rows: torch.Tensor,
    span: torch.Tensor,
    strain_mask: torch.Tensor,
    pressure: torch.Tensor,
) -> DeformedState:
    """The state whose cell is the reference, before its forces are known; no two of its tensors are one."""
    given = {f.name: getattr(start, f.name) for f in fields(RelaxState)}
    return DeformedState(
        **given,
        reference=start.cell.clone(),
        deformation=deformation.clone(),
        rows=rows.clone(),
        span=span.clone(),
        strain_mask=strain_mask.clone(),
        pressure=pressure,
        pull=torch.zeros_like(start.forces),
        row_pull=torch.zeros_like(start.cell),
    )
