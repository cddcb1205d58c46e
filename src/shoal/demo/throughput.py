"""One batch against a loop: the same structures, the same model file, from ASE atoms to numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shoal.demo.model import Model, one_thread
from shoal.engine import evaluate
from shoal.throughput.timing import rounds_within

if TYPE_CHECKING:
    from ase import Atoms

Answer = tuple[np.ndarray, np.ndarray]

LATTICE_CONSTANT = 5.43
WIDTH = 0.05
ENOUGH = 20.0  # s after which no further round begins


@dataclass(frozen=True)
class Throughput:
    """Seconds of each round for `n_systems` cells of `n_atoms`, and the largest differences between both answers."""

    n_systems: int
    n_atoms: int
    n_batches: int
    batch: tuple[float, ...]
    loop: tuple[float, ...]
    energy_difference: float
    forces_difference: float

    @property
    def ratio(self) -> float:
        return median(self.loop) / median(self.batch)

    def per_atom(self, seconds: tuple[float, ...]) -> float:
        """Median, us/atom."""
        return 1e6 * median(seconds) / (self.n_systems * self.n_atoms)


def rattled_cells(n_systems: int, repeat: int, seed: int = 0) -> list[Atoms]:
    """Cubic silicon cells of 8 repeat^3 atoms, each with its own displacements of 0.05 A."""
    from ase.build import bulk

    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(n_systems):
        atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True) * ((repeat,) * 3)
        atoms.positions += rng.normal(0, WIDTH, atoms.positions.shape)
        cells.append(atoms)
    return cells


@one_thread()
def compare_throughput(
    model: Model,
    cells: list[Atoms],
    max_atoms: int,
    rounds: int,
    tell: Callable[[str], object] = lambda _: None,
) -> Throughput:
    """Time energy, forces and stress of all cells, in batches of up to `max_atoms` and one after the other, in turns.

    A warm-up comes first; then at most `rounds` turns, fewer where they take more than 20 s. Both sides run on one
    thread, so that they do the same arithmetic on the same core. The loop keeps no neighbour list from one cell to
    the next (skin 0), because each cell is another.
    """
    from shoal.integrations.ase import ShoalCalculator

    calculator = model.calculator()
    single = ShoalCalculator(calculator, skin=0.0)

    def batch() -> Answer:
        results = evaluate(cells, calculator, max_atoms=max_atoms)
        return results.energies, np.concatenate(results.forces)

    def loop() -> Answer:
        energies, forces = [], []
        for atoms in cells:
            single.calculate(atoms, ["energy", "forces", "stress"])
            energies.append(single.results["energy"])
            forces.append(single.results["forces"])
        return np.array(energies), np.concatenate(forces)

    (energies, forces), (loop_energies, loop_forces) = batch(), loop()
    sides: dict[str, Callable[[], Answer]] = {"batch": batch, "loop": loop}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in rounds_within(rounds, ENOUGH):
        for name, call in sides.items():
            tell(f"{len(cells)} cells of {len(cells[0])} atoms, round {number} of {rounds}, {name}")
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    n_atoms = len(cells[0])
    return Throughput(
        n_systems=len(cells),
        n_atoms=n_atoms,
        n_batches=-(-len(cells) // max(1, max_atoms // n_atoms)),
        batch=tuple(seconds["batch"]),
        loop=tuple(seconds["loop"]),
        energy_difference=float(np.abs(energies - loop_energies).max()) / n_atoms,
        forces_difference=float(np.abs(forces - loop_forces).max()),
    )
