"""Silicon cells of 8, 16 and 64 atoms labelled with Stillinger-Weber: training data for the models that are timed.

usage: python benchmarks/make_silicon_sw.py OUT.xyz
"""

from __future__ import annotations

import sys

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

from shoal.engine import BatchCalculator
from shoal.io import atoms_to_state, state_to_atoms
from shoal.potentials import StillingerWeber

SIZES = {(1, 1, 1): 40, (2, 1, 1): 40, (2, 2, 2): 20}


def frames(seed: int = 1) -> list[Atoms]:
    """100 strained (to 3 %) and rattled (0.02 to 0.25 A) cells in random order."""
    rng = np.random.default_rng(seed)
    cells = []
    for repeat, count in SIZES.items():
        for _ in range(count):
            atoms = bulk("Si", "diamond", a=5.43, cubic=True) * repeat
            strain = np.eye(3) + rng.normal(0, rng.uniform(0, 0.03), (3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.positions += rng.normal(0, rng.uniform(0.02, 0.25), atoms.positions.shape)
            cells.append(atoms)
    return [cells[k] for k in rng.permutation(len(cells))]


def main() -> None:
    state = atoms_to_state(frames())
    write(sys.argv[1], state_to_atoms(state, BatchCalculator(StillingerWeber())(state)), format="extxyz")


if __name__ == "__main__":
    main()
