"""What benchmarks/md.py moves: argon by Lennard-Jones, silicon by Stillinger-Weber."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.build import bulk

EPSILON, SIGMA = 0.0104, 3.405  # eV, A
CUTOFF = 2.5 * SIGMA


@dataclass(frozen=True)
class Material:
    """Rattled cubic cells and what acts in them; `pair` are LAMMPS's commands for it."""

    symbol: str
    lattice: str
    a: float  # A
    mass: float  # u
    temperature: float  # K
    rattle: float  # A
    pair: str
    cases: tuple[str, ...]
    engines: tuple[str, ...]

    def structures(self, case: str) -> list[Atoms]:
        """`SxN`: S cells of N atoms."""
        n_systems, n_atoms = map(int, case.split("x"))
        cell = bulk(self.symbol, self.lattice, a=self.a, cubic=True)
        repeats = _repeats(n_atoms, len(cell))
        structures = []
        for seed in range(n_systems):
            atoms = cell * repeats
            atoms.set_masses([self.mass] * n_atoms)
            atoms.rattle(self.rattle, seed=seed)
            structures.append(atoms)
        return structures

    def potential(self) -> Any:
        """Shoal's."""
        from shoal.potentials import LennardJones, StillingerWeber

        return StillingerWeber() if self.symbol == "Si" else LennardJones({"Ar": (EPSILON, SIGMA)}, CUTOFF, "none")


MATERIALS = {
    "argon": Material(
        "Ar", "fcc", 5.26, 39.948, 40.0, 0.05,
        f"pair_style lj/cut {CUTOFF}\npair_coeff 1 1 {EPSILON} {SIGMA}",
        ("1x256", "16x256", "64x64", "256x32", "1x4000"),
        ("compiled", "eager", "torch-sim", "torch-sim-vesin", "ase", "lammps"),
    ),
    "silicon": Material(
        "Si", "diamond", 5.431, 28.0855, 300.0, 0.05,
        "pair_style sw\npair_coeff * * Si.sw Si",
        ("1x216", "16x216", "64x64", "1x4096"),
        ("compiled", "eager", "lammps"),
    ),
}  # fmt: skip


def _repeats(n_atoms: int, of_cell: int) -> tuple[int, int, int]:
    """How often a cell is repeated along each axis, as evenly as it goes."""
    cells, rest = divmod(n_atoms, of_cell)
    if rest:
        raise ValueError(f"{n_atoms} atoms are no whole number of cells of {of_cell}")
    divisors = [k for k in range(1, cells + 1) if cells % k == 0]
    thirds = ((cells // (a * b), b, a) for a in divisors for b in divisors if cells % (a * b) == 0)
    return min(repeats for repeats in thirds if repeats == tuple(sorted(repeats, reverse=True)))
