"""What makes a structure unusable, said before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoal.errors import InputError
from shoal.state import DEGENERATE

if TYPE_CHECKING:
    from ase import Atoms


def check_structure(atoms: Atoms, index: int) -> None:
    """Refuse NaN or infinite positions and cells, and dependent periodic lattice vectors.

    Raises InputError naming the structure's place in the input and, if it was read from a file, its entry.
    """
    name = structure_name(atoms, index)
    for what, values in (("position", atoms.positions), ("cell", atoms.cell.array)):
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            which = f"atom {int(bad.argmax())}" if what == "position" else f"lattice vector {int(bad.argmax())}"
            raise InputError(f"{name}: {what} of {which} is not finite")
    vectors = atoms.cell.array[atoms.pbc]
    if len(vectors) and _measure(vectors) <= DEGENERATE * np.prod(np.linalg.norm(vectors, axis=1)):
        raise InputError(
            f"{name}: the lattice vectors of its periodic axes are zero or linearly dependent "
            f"(pbc={atoms.pbc.tolist()}, cell={atoms.cell.array.tolist()})"
        )


def structure_name(atoms: Atoms, index: int) -> str:
    """How messages name a structure: its place in the input and, if it was read from a file, its entry there."""
    return f"structure {index}" + (f" ({atoms.origin})" if hasattr(atoms, "origin") else "")


def _measure(vectors: np.ndarray) -> float:
    """Length, area or volume that 1, 2 or 3 vectors span."""
    gram = vectors @ vectors.T
    return float(np.sqrt(max(np.linalg.det(gram), 0.0)))
