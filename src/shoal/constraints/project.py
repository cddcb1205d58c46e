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
    """(N, 3): zero on fixed atoms; where the centre of mass is fixed, the part that steps along it leave it at rest.

    For optimizers, which step along forces whatever the masses; in dynamics it is velocities that are held.

    Source: ASE's FixCom, after doi:10.1021/jp9722824, eqs. 3 and 7.
    """
    weight = _positive(systems.sum(systems.masses.square()))
    shared = systems.sum(systems.masses[:, None] * forces) / weight[:, None]
    shared = torch.where(systems.fixed_com[:, None], shared, 0.0)
    return torch.where(systems.fixed[:, None], 0.0, forces - systems.masses[:, None] * systems.of_atoms(shared))


def _positive(weight: torch.Tensor) -> torch.Tensor:
    return torch.where(weight > 0, weight, 1.0)
