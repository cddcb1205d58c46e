"""The constraints there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shoal.errors import InputError


@dataclass(frozen=True)
class FixAtoms:
    """Some atoms stay where they are: one of `indices`, negative ones from the end, and `mask`, a bool for each atom.

    Both count within a system.
    """

    indices: Sequence[int] | None = None
    mask: Sequence[bool] | None = None

    def __post_init__(self) -> None:
        if (self.indices is None) == (self.mask is None):
            raise InputError("FixAtoms takes indices or a mask, one of the two")

    def of(self, n_atoms: int) -> np.ndarray:
        """(n_atoms,) bool: the atoms it holds. Raises InputError for atoms that are not there."""
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.shape != (n_atoms,) or mask.dtype != bool:
                raise InputError(f"a mask of FixAtoms is one bool for each of {n_atoms} atoms, got {self.mask!r}")
            return mask
        indices = np.asarray(self.indices)
        if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
            raise InputError(f"indices of FixAtoms are integers, got {self.indices!r}")
        outside = indices[(indices < -n_atoms) | (indices >= n_atoms)]
        if len(outside):
            raise InputError(f"FixAtoms names atom {outside[0]}, there are {n_atoms} atoms")
        held = np.zeros(n_atoms, dtype=bool)
        held[indices.astype(np.int64)] = True
        return held


@dataclass(frozen=True)
class FixCenterOfMass:
    """The centre of mass stays where it is."""


Constraint = FixAtoms | FixCenterOfMass
