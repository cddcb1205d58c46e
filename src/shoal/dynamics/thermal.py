"""Kinetic energy, temperature, and velocities drawn at a temperature.

N atoms, S systems.
"""

from __future__ import annotations

import torch

from shoal.constraints import degrees_of_freedom, hold_velocities
from shoal.motion import Systems
from shoal.random import normals
from shoal.units import ACCELERATION, BOLTZMANN, KINETIC


def kinetic_energy(velocities: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(S,) eV from velocities (N, 3) A/fs, with the centre of mass's motion as it is."""
    return systems.sum(0.5 * KINETIC * systems.masses * velocities.square().sum(1))


def kinetic_tensor(velocities: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(S, 3, 3) eV: sum of m v v / 2, whose trace is the kinetic energy."""
    outer = velocities[:, :, None] * velocities[:, None, :]
    return systems.sum(0.5 * KINETIC * systems.masses[:, None, None] * outer)


def kinetic_change(before: torch.Tensor, after: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(S,) eV: the kinetic energy of velocities `after` (N, 3) less that of `before`, summed atom by atom."""
    change = after.square().sum(1) - before.square().sum(1)
    return systems.sum(0.5 * KINETIC * systems.masses * change)


def temperature(velocities: torch.Tensor, systems: Systems, *, conserves_momentum: bool) -> torch.Tensor:
    """(S,) K: 2 K / (f k_B) with f degrees of freedom; 0 where there are none."""
    freedom = degrees_of_freedom(systems, conserves_momentum=conserves_momentum)
    kinetic = kinetic_energy(velocities, systems)
    return torch.where(freedom > 0, 2 * kinetic / (freedom.clamp(min=1) * BOLTZMANN), 0.0)


def without_drift(velocities: torch.Tensor, systems: Systems) -> tuple[torch.Tensor, torch.Tensor]:
    """Velocities relative to the centre of mass (N, 3), and its own (N, 3), 0 in systems with fixed atoms."""
    free = systems.sum(systems.fixed.to(torch.float64)) == 0
    relative = hold_velocities(velocities, systems.replace(fixed_com=systems.fixed_com | free))
    return relative, torch.where(systems.of_atoms(free)[:, None], velocities - relative, 0.0)


def thermal_speed(temperature: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N,) A/fs: sqrt(k_B T / m) for temperatures (S,) K; 0 for atoms without mass."""
    inverse = torch.where(systems.masses > 0, 1.0 / systems.masses, 0.0)
    return (systems.of_atoms(temperature) * BOLTZMANN * ACCELERATION * inverse).sqrt()


def maxwell_boltzmann(
    temperature: torch.Tensor, systems: Systems, keys: torch.Tensor, steps: torch.Tensor | None = None
) -> torch.Tensor:
    """(N, 3) A/fs: velocities of the Maxwell-Boltzmann distribution at temperatures (S,) K.

    `keys` (S, 2): of `shoal.random.stream_keys`; `steps` (S,) int64: steps done before, so that a system that is given
    velocities again gets others. The total momentum is removed where no atom is fixed; what is left
    is the distribution of 3n - 3 degrees of freedom.
    """
    counter = torch.zeros_like(systems.atom_number) if steps is None else systems.of_atoms(steps)
    noise = normals(systems.of_atoms(keys), counter, systems.atom_number)[:, :3]
    velocities = thermal_speed(temperature, systems)[:, None] * noise
    return without_drift(velocities, systems)[0]
