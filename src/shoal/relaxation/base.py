"""What every optimizer is.

N atoms, S systems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import torch

from shoal.errors import InputError
from shoal.motion import Evaluate, Systems
from shoal.potentials._derivatives import cell_volume
from shoal.relaxation.filters import CellFilter, FixedCell
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState
from shoal.units import GPA


@dataclass(frozen=True)
class Optimizer(ABC):
    """A method of relaxation; a subclass is a frozen dataclass of its parameters.

    `cell`: the filter that says which degrees of freedom of the cell move.
    """

    cell: CellFilter = field(default_factory=FixedCell, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.cell, CellFilter):
            raise InputError(f"{type(self).__name__}: cell must be a filter, got {self.cell!r}; see cell_filter()")

    @property
    def moves_cell(self) -> bool:
        """Whether the cell changes, so that every evaluation needs the virial."""
        return self.cell.moves_cell

    @property
    def step_key(self) -> Hashable:
        """Optimizers with equal keys take their steps by the same operations."""
        return self.on(FixedCell()), self.cell.step_key

    def on(self, cell: CellFilter) -> Optimizer:
        """The same method with another cell filter."""
        return replace(self, cell=cell)

    @abstractmethod
    def init(self, systems: Systems, start: RelaxState) -> DeformedState:
        """The state to step from: `start` with this method's and its filter's variables. Raises InputError."""

    @abstractmethod
    def step(self, state: DeformedState, systems: Systems, evaluate: Evaluate) -> DeformedState:
        """One step: a pure function of tensors, which calls `evaluate` once and looks at no value."""

    def enthalpy(self, state: DeformedState) -> torch.Tensor:
        """(S,) eV: what is minimised, the energy with pressure * volume."""
        return self.cell.enthalpy(state)

    def largest_force(self, state: DeformedState, systems: Systems) -> torch.Tensor:
        """(S,) eV/A: the longest row of the forces that the filter presents, of atoms and of the cell; ASE's fmax."""
        return state.pulls.longest(systems)

    def largest_stress(self, state: DeformedState) -> torch.Tensor:
        """(S,) GPa: the largest component of stress + pressure among those that may change; 0 if none may.

        Infinite where there is an unbalanced virial but no volume.
        """
        return self.cell.unbalanced(state).abs().amax((1, 2)) / cell_volume(state.cell).clamp(min=1e-300) / GPA

    def converged(
        self,
        state: DeformedState,
        systems: Systems,
        fmax: torch.Tensor | float,
        stress_max: torch.Tensor | float | None = None,
    ) -> torch.Tensor:
        """(S,) bool: is the largest force below `fmax` (eV/A), and the largest stress at most `stress_max` (GPa)?

        One number for all or one for each system (S,). What is not finite is never converged.
        """
        done = self.largest_force(state, systems) < fmax
        if stress_max is not None:
            done = done & (self.largest_stress(state) <= stress_max)
        return done & finite(state, systems, virial=self.moves_cell)

    def begun(self, systems: Systems, start: RelaxState) -> DeformedState:
        """Where a relaxation starts, by the filter."""
        return self._pulled(self.cell.init(systems, start), systems)

    def moved(self, state: DeformedState, to: Coordinates, systems: Systems, evaluate: Evaluate) -> DeformedState:
        """The state at other coordinates, evaluated there."""
        placed = self.cell.place(to, state, systems)
        at = evaluate(placed.positions, placed.cell)
        new = state.replace(**placed._asdict(), energy=at.energy, forces=at.forces, virial=at.virial)
        return self._pulled(new, systems)

    def _pulled(self, state: DeformedState, systems: Systems) -> DeformedState:
        pull = self.cell.forces(state, systems)
        return state.replace(pull=pull.atoms, row_pull=pull.rows)


def finite(state: RelaxState, systems: Systems, *, virial: bool) -> torch.Tensor:
    """(S,) bool: systems whose energy, forces, positions, cell and, if asked, virial are finite."""
    atoms = torch.isfinite(state.positions) & torch.isfinite(state.forces)
    bad = systems.sum((~atoms).to(torch.float64)).sum(1)
    good = torch.isfinite(state.energy) & torch.isfinite(state.cell).flatten(1).all(1) & (bad == 0)
    return good & torch.isfinite(state.virial).flatten(1).all(1) if virial else good
