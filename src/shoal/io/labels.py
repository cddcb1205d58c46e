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


ASYMMETRY = 1e-6


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels: in the results of a structure's calculator, in its `info` or in its `arrays`."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"


@dataclass(frozen=True, eq=False)
class Labels:
    """energy eV, forces (N, 3) eV/A, stress (3, 3) eV/A^3, positive under tension; None where there is no label."""

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None


def read_labels(atoms: Atoms, index: int, keys: LabelKeys | None = None) -> Labels:
    """The labels of one structure, the place `index` of the input.

    Stress may be 6 numbers in ASE's Voigt order (xx, yy, zz, yz, xz, xy), 9, or a matrix. Raises DataError naming the
    structure for labels that are not finite or misshapen, and for a stress that is not symmetric or has no volume.
    """
    keys = keys or LabelKeys()
    name = structure_name(atoms, index)
    energy = _label(atoms, keys.energy, ((), (1,)), name)
    forces = _label(atoms, keys.forces, ((len(atoms), 3),), name)
    stress = _label(atoms, keys.stress, ((6,), (9,), (3, 3)), name)
    return Labels(
        energy=None if energy is None else float(energy.reshape(())),
        forces=forces,
        stress=None if stress is None else _matrix(stress, atoms, f"{name}: label {keys.stress}"),
    )


def _label(atoms: Atoms, key: str, shapes: tuple[tuple[int, ...], ...], name: str) -> np.ndarray | None:
    results = atoms.calc.results if atoms.calc is not None else {}
    value = next((values[key] for values in (results, atoms.info, atoms.arrays) if values.get(key) is not None), None)
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name}: label {key} is no number: {value!r}") from None
    if array.shape not in shapes:
        raise DataError(f"{name}: label {key} has shape {array.shape}, needs {' or '.join(map(str, shapes))}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = f" of atom {bad[0][0]}" if array.shape == (len(atoms), 3) else ""
        raise DataError(f"{name}: label {key}{where} is not finite; mend the label or take the structure out")
    return array


def _matrix(stress: np.ndarray, atoms: Atoms, label: str) -> np.ndarray:
    """(3, 3) from Voigt's six numbers, nine numbers, or itself."""
    from ase.stress import voigt_6_to_full_3x3_stress

    if atoms.cell.volume == 0:
        raise DataError(f"{label}: the cell has no volume, so no stress is defined")
    matrix = np.asarray(voigt_6_to_full_3x3_stress(stress)) if stress.size == 6 else stress.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > ASYMMETRY * max(1.0, np.abs(matrix).max()):
        raise DataError(f"{label} is not symmetric: {matrix.tolist()}")
    return matrix
