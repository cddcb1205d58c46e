"""Silicon carbide in every shape that a batch may hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk


def crystal() -> Atoms:
    """Triclinic and rattled, some atoms outside the cell."""
    atoms = bulk("SiC", "zincblende", a=4.36)
    atoms.set_cell(atoms.cell.array + np.array([[0.3, 0, 0], [0, -0.2, 0.4], [0.1, 0, 0]]), scale_atoms=True)
    atoms = atoms * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    atoms.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
    return atoms


def slab(third: tuple[float, float, float]) -> Atoms:
    atoms = crystal()
    atoms.pbc = (True, True, False)
    atoms.cell[2] = third
    return atoms


def wire() -> Atoms:
    """Periodic along its second vector, which lies along x; the other vectors are zero."""
    return Atoms(
        "SiC", [[0, 0, 0], [1.4, 0.7, 0.2]], cell=[[0, 0, 0], [3.1, 0, 0], [0, 0, 0]], pbc=(False, True, False)
    )


def wire_beside_its_open_vectors() -> Atoms:
    """Periodic along x; one open vector lies along x too, the other is zero."""
    return Atoms(
        "SiC", [[0, 0, 0], [1.4, 0.7, 0.2]], cell=[[3.1, 0, 0], [2.0, 0, 0], [0, 0, 0]], pbc=(True, False, False)
    )


def molecule() -> Atoms:
    return Atoms("SiC2", [[0, 0, 0], [1.5, 0.3, 0], [0, 1.9, 0.5]])


def mirrored() -> Atoms:
    atoms = crystal()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


STRUCTURES: dict[str, Callable[[], list[Atoms]]] = {
    "crystal": lambda: [crystal()],
    "left-handed": lambda: [mirrored()],
    "one atom in a cell": lambda: [bulk("Si", "fcc", a=4.0)],
    "slab without third vector": lambda: [slab((0, 0, 0))],
    "slab with vacuum": lambda: [slab((0.5, 0.2, 15.0))],
    "wire": lambda: [wire()],
    "wire beside its open vectors": lambda: [wire_beside_its_open_vectors()],
    "molecule": lambda: [molecule()],
    "molecule in a box": lambda: [Atoms("SiC", [[0, 0, 0], [1.5, 0.3, 0]], cell=[3, 3, 3])],
    "one atom": lambda: [Atoms("C")],
    "no edges at all": lambda: [Atoms("C"), Atoms("Si2", [[0, 0, 0], [9, 0, 0]])],
    "mixed batch": lambda: [molecule(), crystal(), slab((0, 0, 0)), Atoms("C"), wire(), mirrored(), molecule()],
}
