"""What `on_step` sees of a running batch.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Generic

import torch

from shoal.dynamics import Integrator, MDState, kinetic_energy, temperature
from shoal.engine.loop import Loop
from shoal.engine.step import State
from shoal.errors import InputError, UnsupportedRequestError
from shoal.potentials import cell_volume
from shoal.relaxation import Optimizer
from shoal.relaxation.state import DeformedState
from shoal.state import SimState
from shoal.status import Status
from shoal.units import GPA


class Snapshot(Generic[State]):
    """The resident systems of a run after `n_steps` steps of it; quantities are computed when they are asked for.

    `system_id` (S,) says which systems they are, `active` (S,) bool which of them still move.
    """

    def __init__(self, loop: Loop[State], n_steps: int) -> None:
        self._loop, self._frame, self.n_steps = loop, loop.frame, n_steps
        # as they are now: the loop goes on
        self._systems, self._neighbors, self._types = loop.systems, loop.neighbors, loop.types
        self._start = loop.state
        self.system_id = loop.systems.system_id
        self.active = loop.active

    @property
    def positions(self) -> torch.Tensor:
        """(N, 3) A."""
        return self._frame.positions

    @property
    def cell(self) -> torch.Tensor:
        """(S, 3, 3) A, rows the lattice vectors."""
        return self._frame.cell

    @property
    def forces(self) -> torch.Tensor:
        """(N, 3) eV/A."""
        return self._frame.forces

    @property
    def energy(self) -> torch.Tensor:
        """(S,) eV, potential energy."""
        return self._frame.energy

    @property
    def state(self) -> SimState:
        """The systems as a state."""
        return self._start.replace(positions=self._frame.positions, cell=self._frame.cell)

    @cached_property
    def stress(self) -> torch.Tensor:
        """(S, 3, 3) eV/A^3 of the potential alone, positive under tension; NaN without a volume. One evaluation."""
        potential = self._loop.calculator.potential
        if "stress" not in potential.capabilities.outputs:
            raise UnsupportedRequestError(f"{type(potential).__name__} gives no stress, so there is no pressure")
        values = potential(self.state, self._neighbors, ("stress",), atom_types=self._types)
        return values["stress"]

    def stop(self, system_ids: Iterable[int], reason: str = "stopped by on_step") -> None:
        """Freeze some systems where they are, with the status stopped. Raises InputError for an unknown id."""
        known = {system_id: row for row, system_id in enumerate(self.system_id.tolist())}
        rows = torch.zeros_like(self.active)
        for system_id in system_ids:
            if system_id not in known:
                raise InputError(f"there is no system {system_id} in this batch; its ids: {sorted(known)[:10]}")
            rows[known[system_id]] = True
        self._loop.freeze(rows, Status.STOPPED, reason)
        self.active = self._loop.active


class DynamicsSnapshot(Snapshot[MDState]):
    """What `on_step` of `simulate` sees."""

    @property
    def velocities(self) -> torch.Tensor:
        """(N, 3) A/fs."""
        return self._frame.velocities

    @property
    def state(self) -> SimState:
        """The systems as a state, with velocities."""
        return super().state.replace(velocities=self.velocities)

    @cached_property
    def kinetic_energy(self) -> torch.Tensor:
        """(S,) eV."""
        return kinetic_energy(self.velocities, self._systems)

    @cached_property
    def temperature(self) -> torch.Tensor:
        """(S,) K."""
        return temperature(self.velocities, self._systems, conserves_momentum=self._method.conserves_momentum)

    @cached_property
    def conserved(self) -> torch.Tensor:
        """(S,) eV: what the integrator conserves."""
        return self._method.conserved(self._frame, self._systems)

    @cached_property
    def pressure(self) -> torch.Tensor:
        """(S,) GPa, of the potential and of the motion: -trace(stress) / 3 + 2 K / (3 V)."""
        volume = cell_volume(self.cell)
        kinetic = 2 * self.kinetic_energy / (3 * volume)
        return (kinetic - self.stress.diagonal(dim1=1, dim2=2).sum(1) / 3) / GPA

    @property
    def _method(self) -> Integrator:
        assert isinstance(self._loop.mover, Integrator)
        return self._loop.mover


class RelaxationSnapshot(Snapshot[DeformedState]):
    """What `on_step` of `relax` sees."""

    @cached_property
    def fmax(self) -> torch.Tensor:
        """(S,) eV/A: the largest force on an atom or, by the cell filter, on the cell."""
        return self._method.largest_force(self._frame, self._systems)

    @cached_property
    def enthalpy(self) -> torch.Tensor:
        """(S,) eV: what is minimised, the energy with pressure * volume."""
        return self._method.enthalpy(self._frame)

    @property
    def _method(self) -> Optimizer:
        assert isinstance(self._loop.mover, Optimizer)
        return self._loop.mover
