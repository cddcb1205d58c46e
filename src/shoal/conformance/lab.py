"""Where a model is measured: its structures, and evaluations that several checks share.

N atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shoal.conformance.structures import atoms_of, chosen_species
from shoal.conformance.subject import Species, Subject, Values
from shoal.conformance.tally import NotApplicable, Tally

if TYPE_CHECKING:
    from ase import Atoms

TOLERANCES = {
    "equivariance": (1e-9, 5e-5),
    "batch": (1e-12, 1e-5),
    "differences": (1e-6, 1e-3),
    "sum": (1e-10, 1e-5),
    "unfelt": (1e-12, 1e-6),
    "jump": (1e-7, 5e-5),
    "reference": (1e-10, 5e-5),
}
"""Float64 and float32, all as abs(a - b) <= tolerance * max(1, scale)."""
STEPS = {"float64": 1e-3, "float32": 2e-2}
"""A, of central differences: their error is O(step^4), the noise of a rounded energy O(1/step)."""
STENCIL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
MOST_COORDINATES = 24
BATCH = 1024


def rounding(values: ArrayLike) -> float:
    """What sums in another order may change in values as large as these: an all-electron energy has fewer decimals."""
    return 8 * float(np.finfo(np.float64).eps) * float(np.max(np.abs(values), initial=0.0))


def displaced(atoms: Atoms, by: np.ndarray) -> Atoms:
    """A copy with every atom moved, `by` (N, 3) A."""
    copy = atoms.copy()
    copy.positions += by
    return copy


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """A copy with r' = r (1 + strain)."""
    copy = displaced(atoms, atoms.positions @ strain)
    copy.cell[:] = atoms.cell.array + atoms.cell.array @ strain
    return copy


def extent(atoms: Atoms) -> float:
    """How far a strain of one moves something, A."""
    return max(4.0, float(np.abs(atoms.positions).max(initial=0)), float(np.abs(atoms.cell.array).max()))


def _one(row: int, value: float, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros but for one entry."""
    made = np.zeros(shape)
    made.flat[row] = value
    return made


class Differences(NamedTuple):
    """A structure displaced: which rows of its values the displacements belong to, and the slopes found.

    `energy` (K,), `forces` (K, N, 3), `atomic_energy` (K, N) per unit of displacement. `noise`: what the last digit
    of the energy makes of a slope.
    """

    rows: np.ndarray
    energy: np.ndarray
    forces: np.ndarray | None
    atomic_energy: np.ndarray | None
    noise: float

    def summed(self, members: np.ndarray) -> np.ndarray | None:
        """Slopes (R, K) of the energies of groups of atoms, `members` (R, N); None where atoms have no energies."""
        if len(members) == 1 and members.all():
            return self.energy[None]
        return None if self.atomic_energy is None else members @ self.atomic_energy.T

    def scale(self, slopes: ArrayLike, tolerance: float) -> float:
        """Largest of the slopes of energies, or more where noise alone would exceed the tolerance."""
        return max(float(np.max(np.abs(slopes), initial=0.0)), self.noise / tolerance)


class Lab:
    """A subject, the structures it is measured on, and what was measured so far.

    `fast`: fewer structures. Every coordinate of a structure is displaced, of larger ones a fixed choice of 24.
    """

    def __init__(self, subject: Subject, structures: dict[str, Atoms], fast: bool = False) -> None:
        self.subject = subject
        self.structures = structures
        self.fast = fast
        self.species = chosen_species(subject)
        self._values: dict[str, Values] = {}
        self._moved: dict[str, Differences] = {}
        self._strained: dict[str, Differences] = {}
        self._isolated: dict[Species, float] = {}

    def tolerance(self, of: str) -> float:
        return TOLERANCES[of][self.subject.dtype == "float32"]

    @cached_property
    def names(self) -> list[str]:
        """The structures to go through."""
        if not self.fast:
            return list(self.structures)
        return [name for name in self.structures if name not in ("crystal", "left-handed", "wire")]

    def evaluate(self, structures: Sequence[Atoms]) -> list[Values]:
        """Values of structures in batches of moderate size."""
        found: list[Values] = []
        batch: list[Atoms] = []
        for atoms in structures:
            if batch and sum(map(len, batch)) + len(atoms) > BATCH:
                found += self.subject.evaluate(batch)
                batch = []
            batch.append(atoms)
        return found + (self.subject.evaluate(batch) if batch else [])

    def values(self, name: str) -> Values:
        """Of one structure alone."""
        if name not in self._values:
            self._values[name] = self.subject.evaluate([self.structures[name]])[0]
        return self._values[name]

    def each(self) -> Iterable[tuple[str, Atoms, Values]]:
        """Every structure and its values."""
        for name in self.names:
            yield name, self.structures[name], self.values(name)

    def moved(self, name: str) -> Differences:
        """Slopes in the coordinates of a structure: all of them, or some if there are many."""
        if name not in self._moved:
            atoms = self.structures[name]
            rows = np.arange(3 * len(atoms))
            if len(rows) > MOST_COORDINATES:
                rows = np.sort(np.random.default_rng(1).choice(rows, MOST_COORDINATES, replace=False))
            step = STEPS[self.subject.dtype]

            def moved(row: int, by: float) -> Atoms:
                return displaced(atoms, _one(row, by, atoms.positions.shape))

            self._moved[name] = self._slopes(rows, step, moved)
        return self._moved[name]

    def strained(self, name: str) -> Differences:
        """Slopes in the nine components of the strain, r' = r (1 + strain)."""
        if name not in self._strained:
            atoms = self.structures[name]

            def deformed(row: int, by: float) -> Atoms:
                return strained(atoms, _one(row, by, (3, 3)))

            self._strained[name] = self._slopes(np.arange(9), STEPS[self.subject.dtype] / extent(atoms), deformed)
        return self._strained[name]

    def isolated_energy(self, atoms: Atoms) -> float:
        """Energy of the same atoms apart, eV; what remains of a total is what the tolerances are measured in."""
        labels = atoms.arrays.get("type_label", [""] * len(atoms))
        return sum(
            self._of_isolated(Species(symbol, str(label))) for symbol, label in zip(atoms.symbols, labels, strict=True)
        )

    def energies_agree(
        self, tally: Tally, what: str, atoms: Atoms, actual: float, expected: float, tolerance: float, rule: str = ""
    ) -> None:
        """Compare energies of one structure per atom, measured in the binding energy per atom."""
        n = max(1, len(atoms))
        binding = abs(float(expected) - self.isolated_energy(atoms)) / n
        scale = max(binding, rounding(expected) / n / tolerance)
        a, b = float(actual) / n, float(expected) / n
        tally.compare(f"{what}, energy per atom", a, b, tolerance, scale=scale, rule=rule)

    def unchanged(
        self,
        tally: Tally,
        what: str,
        atoms: Atoms,
        actual: Values,
        expected: Values,
        tolerance: float,
        turn: np.ndarray | None = None,
    ) -> None:
        """Compare all values of two structures that should have the same, the second turned by `turn` (3, 3)."""
        turn = np.eye(3) if turn is None else turn
        self.energies_agree(tally, what, atoms, float(actual["energy"]), float(expected["energy"]), tolerance)
        if "forces" in actual and "forces" in expected:
            tally.compare(f"{what}, forces", actual["forces"], expected["forces"] @ turn, tolerance)
        if "strain_gradient" in actual and "strain_gradient" in expected:
            virial = turn.T @ expected["strain_gradient"] @ turn
            tally.compare(f"{what}, virial", actual["strain_gradient"], virial, tolerance)
        if "stress" in actual and "stress" in expected and np.isfinite(expected["stress"]).all():
            tally.compare(f"{what}, stress", actual["stress"], turn.T @ expected["stress"] @ turn, tolerance)
        if "atomic_energy" in actual and "atomic_energy" in expected:
            binding = abs(float(expected["energy"]) - self.isolated_energy(atoms))
            scale = max(binding, rounding(expected["atomic_energy"]) / tolerance)
            tally.compare(
                f"{what}, atomic energies", actual["atomic_energy"], expected["atomic_energy"], tolerance, scale=scale
            )

    def require(self, *names: str) -> None:
        """Raises NotApplicable unless the model gives these."""
        for name in names:
            if not self.subject.gives(name):
                raise NotApplicable(f"the model gives no {name.replace('_', ' ')}")

    def _of_isolated(self, species: Species) -> float:
        if species not in self._isolated:
            try:
                alone = self.subject.evaluate([atoms_of([species], np.zeros((1, 3)))])[0]
                energy = float(alone["energy"])
            except Exception:  # the check of isolated atoms says so
                energy = 0.0
            self._isolated[species] = energy if np.isfinite(energy) else 0.0
        return self._isolated[species]

    def _slopes(self, rows: np.ndarray, step: float, displaced: Callable[[int, float], Atoms]) -> Differences:
        found = self.evaluate([displaced(int(row), k * step) for row in rows for k in STENCIL])
        weights = np.array(list(STENCIL.values())) / step

        def slope(name: str) -> np.ndarray:
            table = np.array([values[name] for values in found])
            return np.tensordot(weights, table.reshape(len(rows), len(weights), *table.shape[1:]), axes=(0, 1))

        forces, per_atom = (slope(name) if name in found[0] else None for name in ("forces", "atomic_energy"))
        noise = rounding([values["energy"] for values in found]) / step
        return Differences(rows, slope("energy"), forces, per_atom, noise)
