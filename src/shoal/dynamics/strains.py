"""Small strains of cells.

S systems.
"""

from __future__ import annotations

import math

import torch


def trace(tensor: torch.Tensor) -> torch.Tensor:
    """(S,) of (S, 3, 3)."""
    return torch.diagonal(tensor, dim1=1, dim2=2).sum(1)


def shear_part(tensor: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the symmetric part without its trace."""
    identity = torch.eye(3, dtype=tensor.dtype, device=tensor.device)
    return 0.5 * (tensor + tensor.mT) - trace(tensor)[:, None, None] / 3 * identity


def symmetric_normals(noise: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): symmetric matrices that are standard normal in every direction, from six normal deviates (S, 6)."""
    xx, yy, zz = noise[:, :3].unbind(1)
    yz, xz, xy = (noise[:, 3:] / math.sqrt(2.0)).unbind(1)
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=1).reshape(-1, 3, 3)


def turn_back(cell: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the rotation by which rows of `cell` (S, 3, 3) are multiplied so that its first vector is along the
    first of `reference`, and its first two are in the plane of those."""
    return _facing(cell).mT @ _facing(reference)


def _facing(cell: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): orthonormal rows along a, in the plane of a and b, and normal to it."""
    a, b, _ = cell.unbind(1)
    first, third = (v / v.square().sum(1, keepdim=True).sqrt() for v in (a, torch.linalg.cross(a, b)))
    return torch.stack([first, torch.linalg.cross(third, first), third], dim=1)
