"""The parts that integrators are made of.

N atoms, S systems.
"""

from __future__ import annotations

import torch

from shoal.constraints import hold_velocities
from shoal.dynamics.base import MDState
from shoal.dynamics.thermal import thermal_speed
from shoal.motion import Systems
from shoal.random import normals
from shoal.units import ACCELERATION


def half_kick(velocities: torch.Tensor, forces: torch.Tensor, timestep: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3) A/fs: v + F / m dt / 2, with timesteps (S,) fs; constraints hold."""
    inverse = torch.where(systems.masses > 0, 0.5 * ACCELERATION / systems.masses, 0.0)
    return velocities + hold_velocities(forces * (inverse * systems.of_atoms(timestep))[:, None], systems)


def drift(positions: torch.Tensor, velocities: torch.Tensor, time: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3) A: r + v t for times (S,) fs."""
    return positions + velocities * systems.of_atoms(time)[:, None]


def ou_step(
    state: MDState, velocities: torch.Tensor, temperature: torch.Tensor, friction: torch.Tensor, systems: Systems
) -> torch.Tensor:
    """(N, 3) A/fs: the exact Ornstein-Uhlenbeck step of one timestep.

    v -> c v + sqrt(1 - c^2) sqrt(k_B T / m) xi with c = exp(-friction dt); temperature (S,) K, friction (S,) 1/fs.
    The noise xi is the one of the state's step; constraints hold.
    """
    keep = torch.exp(-friction * state.timestep)
    amount = (1 - keep * keep).clamp(min=0).sqrt()
    noise = normals(systems.of_atoms(state.noise), systems.of_atoms(state.step), systems.atom_number)[:, :3]
    thermal = (systems.of_atoms(amount) * thermal_speed(temperature, systems))[:, None] * noise
    return hold_velocities(systems.of_atoms(keep)[:, None] * velocities + thermal, systems)
