"""Brownian steps of a cell under its pressure, and how much heat each takes from the bath.

S systems.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from shoal.dynamics.strains import shear_part, symmetric_normals, trace, turn_back
from shoal.matrix_functions import inverse3, matrix_exp3
from shoal.potentials import cell_volume


def cell_move(
    cell: torch.Tensor,
    tension: torch.Tensor,
    pressure: torch.Tensor,
    thermal_energy: torch.Tensor,
    rate_time: torch.Tensor,
    noise: torch.Tensor,
    *,
    flexible: bool,
) -> CellMove:
    """The move of cells (S, 3, 3) A: of the root of the volume, and if `flexible` then of the shear strain.

    `tension` (S, 3, 3) eV: pressure tensor times volume; `pressure` (S,) eV/A^3 and `thermal_energy` (S,) eV: the
    bath's; `rate_time` (S,) A^3/eV: compressibility times timestep over relaxation time; `noise` (S, 8): normal
    deviates.
    """
    mobility = rate_time / 4
    before = cell_volume(cell).sqrt()
    kick = (2 * thermal_energy * mobility).sqrt() * noise[:, 0]
    after = before + mobility * _root_force(before, tension, pressure, thermal_energy) + kick
    scale = ((after / before) ** (2 / 3))[:, None, None]
    if not flexible:
        identity = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
        return CellMove(scale * identity, identity / scale, before, after, kick, mobility, None)
    ease = (rate_time / (3 * after.square()))[:, None, None]
    shake = (2 * thermal_energy[:, None, None] * ease).sqrt() * shear_part(symmetric_normals(noise[:, 1:7]))
    strain = ease * shear_part(tension) + shake
    stretch = matrix_exp3(strain)
    shrink = inverse3(stretch)
    rotation = turn_back(cell @ stretch, cell)
    shear = ShearMove(strain, shake, ease, rotation)
    return CellMove(scale * stretch @ rotation, shrink @ rotation / scale, before, after, kick, mobility, shear)


class CellMove(NamedTuple):
    """What multiplies rows of positions, and of velocities (S, 3, 3); the Brownian step of the volume's root (S,) from
    `before` to `after`, with the noise in it and its mobility times timestep; and the shear, if there is any."""

    deformation: torch.Tensor
    inverse_transpose: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    noise: torch.Tensor
    mobility: torch.Tensor
    shear: ShearMove | None

    def heat(self, tension: torch.Tensor, pressure: torch.Tensor, thermal_energy: torch.Tensor) -> torch.Tensor:
        """(S,) eV: k_B T log of how likely the reverse move is over the move, volumes being equally likely a priori;
        tension (S, 3, 3) eV after the move."""
        drive = self.mobility * _root_force(self.after, tension, pressure, thermal_energy)
        back = self.after - self.before + drive
        spent = (self.noise.square() - back.square()) / (4 * self.mobility)
        heat = thermal_energy * (self.after / self.before).log() + spent
        return heat if self.shear is None else heat + self.shear.heat(tension)


class ShearMove(NamedTuple):
    """A Brownian step of the shear strain (S, 3, 3), the noise in it, its mobility times timestep (S, 1, 1), and the
    rotation (S, 3, 3) that follows it."""

    strain: torch.Tensor
    noise: torch.Tensor
    mobility: torch.Tensor
    rotation: torch.Tensor

    def heat(self, tension: torch.Tensor) -> torch.Tensor:
        # the reverse move sets out in the cell as it is turned
        unturned = self.rotation @ tension @ self.rotation.mT
        back = self.strain + self.mobility * shear_part(unturned)
        return ((self.noise.square() - back.square()) / (4 * self.mobility)).sum((1, 2))


def _root_force(
    root: torch.Tensor, tension: torch.Tensor, pressure: torch.Tensor, thermal_energy: torch.Tensor
) -> torch.Tensor:
    """(S,): on the root of the volume; its measure is the root times the volume's."""
    return (2 * trace(tension) / 3 + thermal_energy) / root - 2 * pressure * root
