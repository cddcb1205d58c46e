"""Systems of every kind, and short ways to move them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from shoal.engine import RunResults
from shoal.potentials import LennardJones

ARGON = {"Ar": (0.0104, 3.4), "Kr": (0.0140, 3.65)}


def lennard_jones(truncation: str = "switch") -> LennardJones:
    return LennardJones(ARGON, cutoff=7.0, truncation=truncation)  # type: ignore[arg-type]


def mixed_systems(n: int = 40) -> list[Atoms]:
    """Clusters, slabs and crystals of argon and krypton, cubic and triclinic, some with atoms outside their cell."""
    made = []
    for k in range(n):
        rng = np.random.default_rng(k)
        kind = k % 4
        if kind == 0:
            atoms = molecule("CH4")
            atoms.positions *= 3.5
        elif kind == 1:
            atoms = fcc111("Ar", size=(2, 2, 2), a=5.4, vacuum=8.0)
            atoms.pbc = (True, True, False)
        elif kind == 2:
            atoms = bulk("Ar", "fcc", a=5.4, cubic=True)
        else:
            atoms = bulk("Ar", "fcc", a=5.5) * (2, 2, 1)
            atoms.positions += atoms.cell[1] * 3
        atoms.symbols = ["Kr" if (i + k) % 3 == 0 else "Ar" for i in range(len(atoms))]
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        made.append(atoms)
    return made


def positions_by_id(results: RunResults) -> dict[int, np.ndarray]:
    return {system_id: atoms.positions for system_id, atoms in zip(results.ids, results.to_atoms(), strict=True)}


def largest_difference(a: dict[int, np.ndarray], b: dict[int, np.ndarray], ids: Sequence[int] | None = None) -> float:
    return max(float(np.abs(a[k] - b[k]).max()) for k in (a if ids is None else ids))
