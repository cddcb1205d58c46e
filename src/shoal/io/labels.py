"""Energies, forces and stresses that structures carry as labels.

N atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.errors import DataError
from shoal.io.checks import structure_name

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels: in the results of a structure's calculator, in its `info` or in its `arrays`."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"


@dataclass(frozen=True)
class Labels:
    """energy eV, forces (N, 3) eV/A, stress (3, 3) eV/A^3, positive under tension; None where there is no label."""

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None


def read_labels(atoms: Atoms, index: int, keys: LabelKeys | None = None) -> Labels:
    """The labels of one structure. Raises DataError naming the structure for NaN, infinite or misshapen labels."""
    keys = keys or LabelKeys()
    name = structure_name(atoms, index)
    energy = _label(atoms, keys.energy, ((),), name)
    forces = _label(atoms, keys.forces, ((len(atoms), 3),), name)
    stress = _label(atoms, keys.stress, ((6,), (9,), (3, 3)), name)
    return Labels(None if energy is None else float(energy), forces, None if stress is None else _square(stress))


def _label(atoms: Atoms, key: str, shapes: tuple[tuple[int, ...], ...], name: str) -> np.ndarray | None:
    results = atoms.calc.results if atoms.calc is not None else {}
    value = next((values[key] for values in (results, atoms.info, atoms.arrays) if key in values), None)
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name}: label {key} is no number: {value!r}") from None
    if array.shape not in shapes:
        raise DataError(f"{name}: label {key} has shape {array.shape}, needs {' or '.join(map(str, shapes))}")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: label {key} is not finite; mend or remove the structure")
    return array


def _square(stress: np.ndarray) -> np.ndarray:
    """(3, 3) from ASE's Voigt order xx yy zz yz xz xy, nine numbers, or itself."""
    if stress.size == 6:
        xx, yy, zz, yz, xz, xy = stress
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return stress.reshape(3, 3)
