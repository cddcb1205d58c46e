"""Which image of an atom is given does not matter."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import NotApplicable, Tally


def _run(lab: Lab, tally: Tally) -> None:
    periodic = [entry for entry in lab.each() if entry[1].pbc.any()]
    if not periodic:
        raise NotApplicable("none of the structures is periodic")
    for name, atoms, here in periodic:
        moved, wrapped = atoms.copy(), atoms.copy()
        steps = np.random.default_rng(5).integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        moved.positions += steps @ atoms.cell.array
        wrapped.positions -= _whole_cells(atoms.positions, atoms.cell.array, atoms.pbc)
        other = atoms.copy()
        other.cell[:] = _other_vectors(atoms.cell.array, atoms.pbc)
        for what, copy in (("other images", moved), ("wrapped", wrapped), ("other lattice vectors", other)):
            there = dict(lab.subject.evaluate([copy])[0])
            lab.unchanged(tally, f"{name}, {what}", atoms, there, here, lab.tolerance("equivariance"))


def _whole_cells(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The lattice vectors (N, 3) that wrapping takes off, along periodic axes."""
    axes = np.flatnonzero(pbc)
    fractional = positions @ np.linalg.pinv(cell[axes])
    return np.floor(fractional) @ cell[axes]


def _other_vectors(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Another basis of the same lattice: the last periodic vector plus the first, if there are two."""
    axes = np.flatnonzero(pbc)
    changed = cell.copy()
    if len(axes) > 1:
        changed[axes[-1]] += cell[axes[0]]
    return changed


CHECK = Check(
    number=12,
    name="lattice translations",
    law="Images of atoms other than those given, wrapped atoms, and other vectors of the same lattice change nothing.",
    meaning="Wrapping a trajectory changes its energies, and an atom that crosses the border of a cell feels it.",
    run=_run,
)
