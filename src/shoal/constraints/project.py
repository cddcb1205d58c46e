"""What constraints leave of velocities and forces.

N atoms.
"""

from __future__ import annotations

import torch

from shoal.motion import Systems


def hold_velocities(velocities: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3): zero for fixed atoms; without the centre of mass's motion where that is fixed."""
    momentum = systems.sum(systems.masses[:, None] * velocities)
    drift = momentum / _positive(systems.sum(systems.masses))[:, None]
    shared = torch.where(systems.fixed_com[:, None], drift, 0.0)
    return torch.where(systems.fixed[:, None], 0.0, velocities - systems.of_atoms(shared))


def hold_forces(forces: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3): zero on fixed atoms; where the centre of mass is fixed, without what would accelerate it."""
    mass = _positive(systems.sum(systems.masses))
    shared = torch.where(systems.fixed_com[:, None], systems.sum(forces) / mass[:, None], 0.0)
    return torch.where(systems.fixed[:, None], 0.0, forces - systems.masses[:, None] * systems.of_atoms(shared))


def _positive(masses: torch.Tensor) -> torch.Tensor:
    return torch.where(masses > 0, masses, 1.0)
