"""Constant temperature by a chain of thermostats, without noise.

N atoms, S systems, M thermostats.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch

from shoal.constraints import degrees_of_freedom
from shoal.dynamics.base import Integrator, MDState, PerSystem, Ramp
from shoal.dynamics.blocks import drift, half_kick
from shoal.dynamics.parameters import at_step, ramp_of
from shoal.dynamics.thermal import kinetic_energy, without_drift
from shoal.errors import InputError
from shoal.motion import Evaluate, Systems, memory, per_system
from shoal.parameters import check_whole, positive
from shoal.units import BOLTZMANN

SUZUKI_YOSHIDA = {
    1: (1.0,),
    3: (1 / (2 - 2 ** (1 / 3)), -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3))),
    5: tuple(-(4 ** (1 / 3)) / (4 - 4 ** (1 / 3)) if k == 2 else 1 / (4 - 4 ** (1 / 3)) for k in range(5)),
    7: (
        0.78451361047755726382,
        0.23557321335935813368,
        -1.17767998417887100695,
        1.31518632068391121889,
        -1.17767998417887100695,
        0.23557321335935813368,
        0.78451361047755726382,
    ),
}
"""Shares of a step whose product is of order 2, 4, 4 and 6.

Sources: H. Yoshida, Phys. Lett. A 150, 262 (1990), table 1, solution A; M. Suzuki, J. Math. Phys. 32, 400 (1991).
"""


@dataclass(frozen=True, eq=False)
class NoseHooverState(MDState):
    """ramp (S, 3): temperatures (K) from and to, and the steps between; tau (S,) fs; chain (S, M) 1/fs, the rates of
    the thermostats; bath (S,) eV, their energy."""

    ramp: torch.Tensor = per_system()
    tau: torch.Tensor = per_system()
    chain: torch.Tensor = memory()
    bath: torch.Tensor = memory()


@dataclass(frozen=True)
class NoseHoover(Integrator):
    """A Nose-Hoover chain of `chain_length` thermostats; `temperature` K, `tau` fs, with masses f k_B T tau^2 of the
    first and k_B T tau^2 of the others.

    The chain is propagated by `suzuki_yoshida` (1, 3, 5 or 7) factors in each of `n_substeps`. It acts on velocities
    relative to the centre of mass where no atom is fixed, so that the total momentum is conserved.

    Sources: G. J. Martyna, M. L. Klein, M. Tuckerman, J. Chem. Phys. 97, 2635 (1992), eqs. 2.4 and 2.5 (conserved);
    G. J. Martyna, M. E. Tuckerman, D. J. Tobias, M. L. Klein, Mol. Phys. 87, 1117 (1996), eqs. 27 to 33.
    """

    temperature: PerSystem | Ramp = 300.0
    tau: PerSystem = 100.0
    chain_length: int = 3
    suzuki_yoshida: int = 3
    n_substeps: int = 1

    conserves_momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole(1, chain_length=self.chain_length, n_substeps=self.n_substeps)
        if self.suzuki_yoshida not in SUZUKI_YOSHIDA:
            raise InputError(f"suzuki_yoshida must be one of {list(SUZUKI_YOSHIDA)}, got {self.suzuki_yoshida!r}")

    @property
    def start_temperature(self) -> PerSystem | None:
        return self.temperature.start if isinstance(self.temperature, Ramp) else self.temperature

    @property
    def step_key(self) -> Hashable:
        return type(self), self.chain_length, self.suzuki_yoshida, self.n_substeps  # the others are in the state

    def init(self, systems: Systems, start: MDState, virial: torch.Tensor | None = None) -> NoseHooverState:
        ramp = ramp_of(self.temperature, systems)
        if not bool((ramp[:, :2] > 0).all()):
            raise InputError(f"a Nose-Hoover chain needs temperatures above 0 K, got {self.temperature!r}")
        return start.become(
            NoseHooverState,
            ramp=ramp,
            tau=positive("tau", self.tau, systems),
            chain=ramp.new_zeros(systems.n_systems, self.chain_length),
            bath=torch.zeros_like(start.energy),
        )

    def step(self, state: MDState, systems: Systems, evaluate: Evaluate) -> MDState:
        assert isinstance(state, NoseHooverState)
        velocities, chain, given = self._half_chain(state, state.velocities, state.chain, systems)
        velocities = half_kick(velocities, state.forces, state.timestep, systems)
        positions = drift(state.positions, velocities, state.timestep, systems)
        at = evaluate(positions, state.cell)
        velocities = half_kick(velocities, at.forces, state.timestep, systems)
        velocities, chain, given_then = self._half_chain(state, velocities, chain, systems)
        return state.replace(
            positions=positions,
            velocities=velocities,
            energy=at.energy,
            forces=at.forces,
            step=state.step + 1,
            elapsed=state.elapsed + 1,
            chain=chain,
            bath=state.bath + given + given_then,
        )

    def conserved(self, state: MDState, systems: Systems) -> torch.Tensor:
        assert isinstance(state, NoseHooverState)
        return state.energy + kinetic_energy(state.velocities, systems) + state.bath

    def _half_chain(
        self, state: NoseHooverState, velocities: torch.Tensor, chain: torch.Tensor, systems: Systems
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Velocities and chain after half a timestep of the chain, and the energy (S,) that the chain has gained."""
        freedom = degrees_of_freedom(systems, conserves_momentum=self.conserves_momentum)
        thermal_energy = BOLTZMANN * at_step(state.ramp, state.elapsed)
        moving, shared = without_drift(velocities, systems)
        warmth = 2 * kinetic_energy(moving, systems) / (freedom.clamp(min=1) * thermal_energy)
        step = 0.5 * state.timestep / self.n_substeps
        parts = [share * step for _ in range(self.n_substeps) for share in SUZUKI_YOSHIDA[self.suzuki_yoshida]]
        scale, new, gained = propagate_chain(chain, warmth, freedom, state.tau, parts)
        return shared + systems.of_atoms(scale)[:, None] * moving, new, thermal_energy * gained


def propagate_chain(
    chain: torch.Tensor, warmth: torch.Tensor, freedom: torch.Tensor, tau: torch.Tensor, parts: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What velocities are scaled by (S,), the chain after it (S, M), and its energy gained (S,) in units of k_B T.

    warmth (S,): temperature over target; freedom (S,) degrees of freedom f; parts: times (S,) fs, one after another.
    In rates v_k the masses cancel: dv_1/dt = (warmth - 1) / tau^2, dv_2/dt = f v_1^2 - 1 / tau^2, dv_k/dt =
    v_(k-1)^2 - 1 / tau^2, each less v_(k+1) v_k.
    """
    rates = list(chain.unbind(1))
    weights = [freedom] + [torch.ones_like(freedom)] * (len(rates) - 1)
    last = len(rates) - 1
    inverse = 1.0 / (tau * tau)
    scale, reservoir = torch.ones_like(warmth), torch.zeros_like(warmth)

    def pull(k: int, time: torch.Tensor) -> None:
        """v_k under its force for `time`, between two halves of its friction."""
        push = (warmth * scale * scale - 1) * inverse if k == 0 else weights[k - 1] * rates[k - 1].square() - inverse
        keep = torch.exp(-0.5 * time * rates[k + 1]) if k < last else torch.ones_like(time)
        rates[k] = (rates[k] * keep + time * torch.where(weights[k] > 0, push, 0.0)) * keep

    def energy() -> torch.Tensor:
        kinetic = [w * v.square() for w, v in zip(weights, rates, strict=True)]
        return 0.5 * tau * tau * torch.stack(kinetic).sum(0)

    before = energy()
    for time in parts:
        for k in range(last, -1, -1):
            pull(k, 0.5 * time)
        scale = scale * torch.exp(-time * rates[0])
        reservoir = reservoir + time * torch.stack([w * v for w, v in zip(weights, rates, strict=True)]).sum(0)
        for k in range(last + 1):
            pull(k, 0.5 * time)
    return scale, torch.stack(rates, dim=1), energy() - before + reservoir
