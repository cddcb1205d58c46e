"""Constant energy."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch

from shoal.dynamics.base import Integrator, MDState
from shoal.dynamics.blocks import drift, half_kick
from shoal.dynamics.thermal import kinetic_energy
from shoal.motion import Evaluate, Systems


@dataclass(frozen=True)
class NVE(Integrator):
    """Velocity Verlet.

    Source: W. C. Swope, H. C. Andersen, P. H. Berens, K. R. Wilson, J. Chem. Phys. 76, 637 (1982).
    """

    conserves_momentum: ClassVar[bool] = True

    @property
    def step_key(self) -> Hashable:
        return type(self)  # every parameter is in the state

    def init(self, systems: Systems, start: MDState, virial: torch.Tensor | None = None) -> MDState:
        return start

    def step(self, state: MDState, systems: Systems, evaluate: Evaluate) -> MDState:
        velocities = half_kick(state.velocities, state.forces, state.timestep, systems)
        positions = drift(state.positions, velocities, state.timestep, systems)
        at = evaluate(positions, state.cell)
        velocities = half_kick(velocities, at.forces, state.timestep, systems)
        return state.replace(
            positions=positions,
            velocities=velocities,
            energy=at.energy,
            forces=at.forces,
            step=state.step + 1,
            elapsed=state.elapsed + 1,
        )

    def conserved(self, state: MDState, systems: Systems) -> torch.Tensor:
        return state.energy + kinetic_energy(state.velocities, systems)
