"""Pairs of atoms by trying every image: the neighbour list that no neighbour list is used for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


def all_pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (E,), neighbour (E,) and lattice shift (E, 3) of every directed pair closer than `cutoff` (A)."""
    shifts = _shifts(atoms, cutoff)
    vectors = (
        atoms.positions[None, :, None] - atoms.positions[:, None, None] + (shifts @ atoms.cell.array)[None, None, :]
    )
    near = np.square(vectors).sum(-1) < cutoff**2
    near &= ~(np.eye(len(atoms), dtype=bool)[:, :, None] & (shifts == 0).all(1))
    i, j, k = near.nonzero()
    return i, j, shifts[k]


def pair_distances(atoms: Atoms, cutoff: float) -> np.ndarray:
    """Distances (E,) A of all pairs closer than `cutoff`."""
    i, j, shifts = all_pairs(atoms, cutoff)
    return np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array, axis=1)


def _shifts(atoms: Atoms, cutoff: float) -> np.ndarray:
    """Every translation (K, 3) that can bring two of the atoms within the cutoff, and some that cannot.

    Along a periodic axis whose reciprocal vector (of the periodic ones alone) is b, n translations move an atom by
    n / abs(b) in its direction.
    """
    most = np.zeros(3, dtype=int)
    axes = np.flatnonzero(atoms.pbc)
    if len(axes) and len(atoms):
        reciprocal = np.linalg.pinv(atoms.cell.array[axes])  # (3, axes), columns
        spread = np.ptp(atoms.positions @ reciprocal, axis=0)
        most[axes] = np.ceil(cutoff * np.linalg.norm(reciprocal, axis=0) + spread)
    return np.array(list(product(*(range(-n, n + 1) for n in most))))
