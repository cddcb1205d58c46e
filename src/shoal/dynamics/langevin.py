"""Constant temperature by friction and noise."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from shoal.dynamics.base import Integrator, MDState, PerSystem, Ramp
from shoal.dynamics.blocks import drift, half_kick, ou_step
from shoal.dynamics.parameters import at_step, ramp_of
from shoal.dynamics.thermal import kinetic_change, kinetic_energy
from shoal.motion import Evaluate, Systems, memory, per_system
from shoal.parameters import not_negative


@dataclass(frozen=True, eq=False)
class LangevinState(MDState):
    """ramp (S, 3): temperatures (K) from and to, and the steps between; friction (S,) 1/fs; heat (S,) eV, what the
    thermostat has given."""

    ramp: torch.Tensor = per_system()
    friction: torch.Tensor = per_system()
    heat: torch.Tensor = memory()


@dataclass(frozen=True)
class Langevin(Integrator):
    """Langevin dynamics by the splitting BAOAB; `temperature` K, `friction` 1/fs.

    Source: B. Leimkuhler, C. Matthews, Appl. Math. Res. Express 2013, 34 (2013), eq. 9; conserved: J. Fass et al.,
    Entropy 20, 318 (2018), energy less the heat of the O steps.
    """

    temperature: PerSystem | Ramp = 300.0
    friction: PerSystem = 0.01

    @property
    def start_temperature(self) -> PerSystem | None:
        return self.temperature.start if isinstance(self.temperature, Ramp) else self.temperature

    @property
    def step_key(self) -> Hashable:
        return type(self)  # every parameter is in the state

    def init(self, systems: Systems, start: MDState, virial: torch.Tensor | None = None) -> LangevinState:
        return start.become(
            LangevinState,
            ramp=ramp_of(self.temperature, systems),
            friction=not_negative("friction", self.friction, systems),
            heat=torch.zeros_like(start.energy),
        )

    def step(self, state: MDState, systems: Systems, evaluate: Evaluate) -> MDState:
        assert isinstance(state, LangevinState)
        half = 0.5 * state.timestep
        velocities = half_kick(state.velocities, state.forces, state.timestep, systems)
        positions = drift(state.positions, velocities, half, systems)
        shaken = ou_step(state, velocities, at_step(state.ramp, state.elapsed), state.friction, systems)
        heat = kinetic_change(velocities, shaken, systems)
        positions = drift(positions, shaken, half, systems)
        at = evaluate(positions, state.cell)
        return state.replace(
            positions=positions,
            velocities=half_kick(shaken, at.forces, state.timestep, systems),
            energy=at.energy,
            forces=at.forces,
            step=state.step + 1,
            elapsed=state.elapsed + 1,
            heat=state.heat + heat,
        )

    def conserved(self, state: MDState, systems: Systems) -> torch.Tensor:
        assert isinstance(state, LangevinState)
        return state.energy + kinetic_energy(state.velocities, systems) - state.heat
