"""What every cell filter is: the coordinates in which a system is relaxed, and the forces on them.

N atoms, S systems. ASE's variables are met by the transposed: its deformation gradient is deformation^T.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from shoal.constraints import hold_forces
from shoal.errors import InputError
from shoal.motion import PerSystem, Systems
from shoal.potentials._derivatives import cell_volume
from shoal.relaxation.matrix_functions import inverse3
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState
from shoal.units import GPA


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


@dataclass(frozen=True)
class DeformingCell(CellFilter):
    """What the filters that move the cell have in common.

    `pressure`: external, GPa, one for all or one for each system. `strain_mask`: components of the strain that may
    change, 6 (xx, yy, zz, yz, xz, xy) or 3 x 3 symmetric. `hydrostatic_strain`: the cell keeps its shape.
    `constant_volume`: it keeps its volume, to first order in each step.

    Atoms follow the cell: those that are fixed keep their fractional coordinates, as with ASE. A system deforms in
    the directions in which it is periodic only: the other rows of its cell stay as they are, and a system without any
    periodic direction moves its atoms only.
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
        _check_span(span, mask, systems)
        pressure = _pressure(self.pressure, systems, start)
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
        cell = torch.where(systems.pbc[:, :, None], state.reference @ deformation, state.reference)
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


def deformed(
    start: RelaxState,
    deformation: torch.Tensor,
    rows: torch.Tensor,
    span: torch.Tensor,
    strain_mask: torch.Tensor,
    pressure: torch.Tensor,
) -> DeformedState:
    """The state whose cell is the reference, before its forces are known."""
    given = {f.name: getattr(start, f.name) for f in fields(RelaxState)}
    return DeformedState(
        **given,
        reference=start.cell,
        deformation=deformation.clone(),
        rows=rows.clone(),
        span=span.clone(),
        strain_mask=strain_mask.clone(),
        pressure=pressure,
        pull=torch.zeros_like(start.forces),
        row_pull=torch.zeros_like(start.cell),
    )


def drive(state: DeformedState) -> torch.Tensor:
    """(S, 3, 3) eV: virial - pressure * volume, symmetric, within the periodic directions."""
    virial = 0.5 * (state.virial + state.virial.transpose(1, 2))
    pressed = (state.pressure * cell_volume(state.cell))[:, None, None] * state.span
    return state.span @ virial @ state.span - pressed


def masked_deformation(gradient: torch.Tensor, state: DeformedState) -> torch.Tensor:
    """(S, 3, 3): the deformation of a deformation gradient in the components and directions that may change."""
    identity = torch.eye(3, dtype=gradient.dtype, device=gradient.device)
    strain = (gradient.transpose(1, 2) - identity) * state.strain_mask
    return identity + state.span @ strain @ state.span


def mask_of(strain_mask: object) -> np.ndarray:
    """(3, 3): a strain mask as a matrix of 0 and 1. Raises InputError for anything else, and if it is asymmetric."""
    try:
        mask = np.ones(6) if strain_mask is None else np.asarray(strain_mask, dtype=np.float64)
    except (TypeError, ValueError):
        mask = np.zeros(0)
    if mask.shape == (6,):
        xx, yy, zz, yz, xz, xy = mask
        mask = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if mask.shape != (3, 3) or not np.isin(mask, (0.0, 1.0)).all() or (mask != mask.T).any():
        raise InputError(f"strain_mask takes 6 (xx, yy, zz, yz, xz, xy) or 3 x 3 symmetric bools, got {strain_mask!r}")
    return mask


def periodic_span(cell: torch.Tensor, pbc: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the projector on the periodic rows of cells (S, 3, 3); exactly 1 where all are."""
    identity = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
    projector = torch.zeros_like(cell)
    for row, periodic in zip(cell.unbind(1), pbc.unbind(1), strict=True):
        rest = row - (row[:, None, :] @ projector)[:, 0]
        length = rest.square().sum(1, keepdim=True).sqrt()
        unit = torch.where(periodic[:, None], rest / torch.where(length > 0, length, 1.0), 0.0)
        projector = projector + unit[:, :, None] * unit[:, None, :]
    return torch.where(pbc.all(1)[:, None, None], identity, projector)


def _check_span(span: torch.Tensor, mask: torch.Tensor, systems: Systems) -> None:
    """A mask of Cartesian components and the periodic directions must not contradict each other."""
    for k in range(9):
        strain = torch.zeros_like(span).flatten(1)
        strain[:, k] = 1.0
        strain = strain.reshape_as(span)
        difference = span @ (strain * mask) @ span - (span @ strain @ span) * mask
        if bool((difference.abs() > 1e-10).any()):
            at = int((difference.abs() > 1e-10).flatten(1).any(1).nonzero()[0])
            raise InputError(
                f"system {int(systems.system_id[at])}: its periodic directions do not lie along Cartesian axes as "
                "strain_mask's components do; turn the structure, or leave the mask away (open directions are held)"
            )


def _pressure(pressure: PerSystem, systems: Systems, start: RelaxState) -> torch.Tensor:
    """(S,) eV/A^3; 0 where nothing is periodic."""
    try:
        picked = systems.pick(pressure).to(start.energy.dtype)
    except (TypeError, ValueError, IndexError, RuntimeError):
        raise InputError(
            f"pressure must be a number in GPa, or one for each system of the input; got {pressure!r}"
        ) from None
    if not bool(torch.isfinite(picked).all()):
        raise InputError(f"pressure must be finite, got {pressure!r}")
    picked = torch.where(systems.pbc.any(1), picked * GPA, 0.0)
    flat = (picked != 0) & ~(cell_volume(start.cell) > 0)
    if bool(flat.any()):
        raise InputError(
            f"system {int(systems.system_id[flat][0])}: a pressure needs a volume, and its cell has none; give its "
            "open directions a cell vector, or the system no pressure"
        )
    return picked


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
