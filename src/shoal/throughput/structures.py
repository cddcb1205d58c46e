"""What is timed: rattled crystals of a model's species, or the user's structures, in batches of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shoal.conformance.structures import bare, crystal_of
from shoal.conformance.subject import Subject
from shoal.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

RATTLE = 0.05
"""A: standard deviation of each coordinate."""


class Crystals:
    """Crystals of a model's first species with at least `n_atoms` each, every one with displacements of its own."""

    def __init__(self, subject: Subject, n_atoms: int) -> None:
        if n_atoms < 1:
            raise InputError(f"a crystal has at least one atom, got {n_atoms}")
        self._crystal = repeated(crystal_of(subject), n_atoms)
        self.name = f"crystals of {len(self._crystal)} atoms"

    def __call__(self, n: int) -> list[Atoms]:
        """The first n."""
        return rattled([self._crystal] * n)


class Given:
    """The user's structures, one after the other and again from the start."""

    def __init__(self, structures: Sequence[Atoms]) -> None:
        self._structures = [bare(atoms) for atoms in structures if len(atoms)]
        if not self._structures:
            raise InputError("there are no structures with atoms among those given")
        self.name = f"{len(self._structures)} given structures"

    def __call__(self, n: int) -> list[Atoms]:
        return [self._structures[k % len(self._structures)] for k in range(n)]


def rattled(structures: Sequence[Atoms]) -> list[Atoms]:
    """Copies, each with displacements of its own."""
    copies = [atoms.copy() for atoms in structures]
    for seed, atoms in enumerate(copies):
        atoms.positions += np.random.default_rng(seed).normal(0, RATTLE, atoms.positions.shape)
    return copies


def repeated(crystal: Atoms, n_atoms: int) -> Atoms:
    """The smallest supercell by doubling, the shortest way first, that has so many atoms."""
    times = np.ones(3, dtype=int)
    while len(crystal) * times.prod() < n_atoms:
        times[np.argmin(times * crystal.cell.lengths())] *= 2
    return crystal * tuple(times)


def batches(structures: Crystals | Given, max_atoms: int) -> Iterator[list[Atoms]]:
    """1, 2, 4 ... structures, as long as they have at most `max_atoms` together; one in any case."""
    batch = structures(1)
    while len(batch) == 1 or sum(map(len, batch)) <= max_atoms:
        yield batch
        batch = structures(2 * len(batch))
