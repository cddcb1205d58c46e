"""In which directions and components a cell may deform, and the pressure on it: parameters of filters as tensors.

S systems.
"""

from __future__ import annotations

import numpy as np
import torch

from shoal.errors import InputError, UnsupportedSystemError
from shoal.motion import PerSystem, Systems
from shoal.parameters import finite
from shoal.potentials._derivatives import cell_volume
from shoal.relaxation.state import RelaxState
from shoal.units import GPA


def mask_of(strain_mask: object) -> np.ndarray:
    """(3, 3): a strain mask as a matrix of 0 and 1. Raises InputError for anything else, and if it is asymmetric."""
    try:
        mask = np.ones(6) if strain_mask is None else np.asarray(strain_mask, dtype=np.float64)
    except (TypeError, ValueError):
        mask = np.zeros(0)
    if mask.shape == (6,):
        xx, yy, zz, yz, xz, xy = mask
        mask = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if mask.shape != (3, 3) or not np.isin(mask, (0.0, 1.0)).all() or (mask != mask.T).any():
        raise InputError(f"strain_mask takes 6 (xx, yy, zz, yz, xz, xy) or 3 x 3 symmetric bools, got {strain_mask!r}")
    return mask


def periodic_span(cell: torch.Tensor, pbc: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the projector on the periodic rows of cells (S, 3, 3); exactly 1 where all are."""
    identity = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
    projector = torch.zeros_like(cell)
    for row, periodic in zip(cell.unbind(1), pbc.unbind(1), strict=True):
        rest = row - (row[:, None, :] @ projector)[:, 0]
        length = rest.square().sum(1, keepdim=True).sqrt()
        unit = torch.where(periodic[:, None], rest / torch.where(length > 0, length, 1.0), 0.0)
        projector = projector + unit[:, :, None] * unit[:, None, :]
    return torch.where(pbc.all(1)[:, None, None], identity, projector)


def check_mask(mask: torch.Tensor, span: torch.Tensor, systems: Systems) -> None:
    """A mask of Cartesian components and the periodic directions must not contradict each other.

    Raises UnsupportedSystemError where they do.
    """
    for k in range(9):
        strain = torch.zeros_like(span).flatten(1)
        strain[:, k] = 1.0
        strain = strain.reshape_as(span)
        difference = span @ (strain * mask) @ span - (span @ strain @ span) * mask
        if bool((difference.abs() > 1e-10).any()):
            at = int((difference.abs() > 1e-10).flatten(1).any(1).nonzero()[0])
            raise UnsupportedSystemError(
                f"system {int(systems.system_id[at])}: its periodic directions do not lie along Cartesian axes as "
                "strain_mask's components do; turn the structure, or leave the mask away (open directions are held)"
            )


def pressure_of(pressure: PerSystem, systems: Systems, start: RelaxState) -> torch.Tensor:
    """(S,) eV/A^3; 0 where nothing is periodic. Raises InputError, and UnsupportedSystemError."""
    given = finite("pressure", pressure, systems).to(start.energy.dtype)
    picked = torch.where(systems.pbc.any(1), given * GPA, 0.0)
    flat = (picked != 0) & ~(cell_volume(start.cell) > 0)
    if bool(flat.any()):
        raise UnsupportedSystemError(
            f"system {int(systems.system_id[flat][0])}: a pressure needs a volume, and its cell has none; give its "
            "open directions a cell vector, or the system no pressure"
        )
    return picked
