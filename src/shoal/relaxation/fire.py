"""The fast inertial relaxation engine.

N atoms, S systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.errors import InputError
from shoal.motion import Evaluate, Systems, per_atom, per_system
from shoal.relaxation.base import Optimizer
from shoal.relaxation.parameters import check_positive
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState


@dataclass(frozen=True, eq=False)
class FireState(DeformedState):
    """velocities of the atoms (N, 3) and of the cell's rows (S, 3, 3), timestep (S,), mixing (S,) and downhill (S,)
    int64, the steps since it last went uphill; -1 before the first."""

    velocities: torch.Tensor = per_atom()
    row_velocities: torch.Tensor = per_system()
    timestep: torch.Tensor = per_system()
    mixing: torch.Tensor = per_system()
    downhill: torch.Tensor = per_system()


@dataclass(frozen=True)
class FIRE(Optimizer):
    """FIRE as ASE has it, step for step: with masses of 1, semi-implicit Euler, and a step of at most `maxstep`.

    `dt`: the first timestep, `dtmax` the largest, in units of A (eV/A)^-1/2, not of time. `maxstep` A: the norm of
    the step over all coordinates of a system. After `n_min` steps downhill the timestep grows by `f_inc` and the
    mixing, from `alpha_start`, shrinks by `f_alpha`; uphill the velocities vanish and the timestep shrinks by `f_dec`.

    Source: E. Bitzek, P. Koskinen, F. Gaehler, M. Moseler, P. Gumbsch, Phys. Rev. Lett. 97, 170201 (2006).
    """

    dt: float = 0.1
    maxstep: float = 0.2
    dtmax: float = 1.0
    n_min: int = 5
    f_inc: float = 1.1
    f_dec: float = 0.5
    alpha_start: float = 0.1
    f_alpha: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "dt", "maxstep", "dtmax", "f_inc", "f_dec", "alpha_start", "f_alpha")
        if not self.n_min >= 0:
            raise InputError(f"FIRE: n_min must not be negative, got {self.n_min!r}")

    def init(self, systems: Systems, start: RelaxState) -> FireState:
        energy = start.energy
        return self.begun(systems, start).become(
            FireState,
            velocities=torch.zeros_like(start.positions),
            row_velocities=torch.zeros_like(start.cell),
            timestep=torch.full_like(energy, self.dt),
            mixing=torch.full_like(energy, self.alpha_start),
            downhill=torch.full_like(energy, -1, dtype=torch.int64),
        )

    def step(self, state: DeformedState, systems: Systems, evaluate: Evaluate) -> DeformedState:
        assert isinstance(state, FireState)
        forces = state.pulls
        velocities = Coordinates(state.velocities, state.row_velocities)
        downhill = forces.dot(velocities, systems) > 0
        started = state.downhill >= 0

        velocities = _steered(velocities, forces, torch.where(downhill, state.mixing, 0.0), systems)
        velocities = velocities.times(downhill.to(state.energy.dtype), systems)
        faster = downhill & (state.downhill > self.n_min)
        slower = started & ~downhill
        timestep = torch.where(faster, (state.timestep * self.f_inc).clamp(max=self.dtmax), state.timestep)
        timestep = torch.where(slower, timestep * self.f_dec, timestep)
        mixing = torch.where(faster, state.mixing * self.f_alpha, state.mixing)
        mixing = torch.where(slower, self.alpha_start, mixing)

        velocities = velocities.plus(forces.times(timestep, systems))
        way = velocities.times(timestep, systems)
        length = way.dot(way, systems).sqrt()
        way = way.times(torch.where(length > self.maxstep, self.maxstep / length, 1.0), systems)
        new = self.moved(state, self.cell.coordinates(state, systems).plus(way), systems, evaluate)
        return new.replace(
            velocities=velocities.atoms,
            row_velocities=velocities.rows,
            timestep=timestep,
            mixing=mixing,
            downhill=torch.where(downhill, state.downhill + 1, 0),
        )


def _steered(velocities: Coordinates, forces: Coordinates, mixing: torch.Tensor, systems: Systems) -> Coordinates:
    """(1 - a) v + a |v| F / |F| with mixing a (S,)."""
    pull = forces.dot(forces, systems).sqrt()
    speed = velocities.dot(velocities, systems).sqrt()
    along = forces.times(mixing / torch.where(pull > 0, pull, 1.0) * speed, systems)
    return velocities.times(1 - mixing, systems).plus(along)
