"""What became of each system: the results of `evaluate`.

N atoms, S systems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.contract import QUANTITIES
from shoal.engine.table import as_columns, as_row
from shoal.errors import InputError
from shoal.status import Status

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class SystemResult:
    """One system: its status, the reason if it failed, and its quantities (empty if nothing was computed).

    `values`: quantity name -> float64 array of the system alone, such as forces (n_atoms, 3).
    `source`: the file and frame it was read from, empty if it came from memory. `n_steps`: how many steps it took, if
    it was moved.
    """

    system_id: int
    source: str
    n_atoms: int
    status: Status
    reason: str
    values: Mapping[str, np.ndarray]
    structure: Callable[[], Atoms] = field(repr=False)
    n_steps: int | None = None

    def to_atoms(self) -> Atoms:
        """The structure with its results as a SinglePointCalculator, its status and its system id in `info`."""
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.stress import full_3x3_to_voigt_6_stress

        atoms = self.structure()
        atoms.info.update(system_id=self.system_id, status=str(self.status))
        if self.reason:
            atoms.info["reason"] = self.reason
        if self.n_steps is not None:
            atoms.info["n_steps"] = self.n_steps
        known: dict[str, Any] = {}
        if "energy" in self.values:
            known["energy"] = known["free_energy"] = float(self.values["energy"])
        if "forces" in self.values:
            known["forces"] = self.values["forces"]
        if "atomic_energy" in self.values:
            known["energies"] = self.values["atomic_energy"]
        if "stress" in self.values and np.isfinite(self.values["stress"]).all():
            known["stress"] = full_3x3_to_voigt_6_stress(self.values["stress"])
        if "virial" in self.values:
            atoms.info["virial"] = self.values["virial"]
        if known:
            atoms.calc = SinglePointCalculator(atoms, **known)
        return atoms


class EvaluationResults:
    """Results of many systems in input order; iterate over it for one `SystemResult` a system.

    Results that were written to `path` are not kept in memory too: `shoal.engine.read_results` reads a results
    folder, `ase.io.read` an extended xyz file; the counts are here.
    """

    def __init__(
        self, outputs: Sequence[str], systems: Sequence[SystemResult], counts: Counts, path: Path | None = None
    ) -> None:
        self.outputs = tuple(outputs)
        self.counts = counts
        self.path = path
        self._systems = tuple(systems)

    @property
    def systems(self) -> tuple[SystemResult, ...]:
        if self.path is not None:
            raise InputError(f"the results are in {self.path}, not in memory; read them from there")
        return self._systems

    def __len__(self) -> int:
        return self.counts.n_systems

    def __iter__(self) -> Iterator[SystemResult]:
        return iter(self.systems)

    def __getitem__(self, place: int) -> SystemResult:
        return self.systems[place]

    @property
    def ids(self) -> list[int]:
        return [system.system_id for system in self.systems]

    @property
    def statuses(self) -> list[Status]:
        return [system.status for system in self.systems]

    @property
    def reasons(self) -> list[str]:
        """Why each failed system failed; empty for the others."""
        return [system.reason for system in self.systems]

    @property
    def energies(self) -> np.ndarray:
        """(S,) eV; NaN where a system failed."""
        return self._per_system("energy")

    @property
    def stress(self) -> np.ndarray:
        """(S, 3, 3) eV/A^3, positive under tension; NaN where a system failed or has no volume."""
        return self._per_system("stress")

    @property
    def forces(self) -> list[np.ndarray]:
        """(n_atoms, 3) eV/A of each system; NaN where it failed."""
        self._require("forces")
        return [system.values.get("forces", np.full((system.n_atoms, 3), np.nan)) for system in self.systems]

    def to_atoms(self) -> list[Atoms]:
        """All structures in input order, each with its results, status and system id."""
        return [system.to_atoms() for system in self.systems]

    def to_table(self) -> dict[str, Any]:
        """Columns by name, ready for `pandas.DataFrame`; the columns and units of `shoal.engine.table`."""
        return as_columns([as_row(system, self.outputs) for system in self.systems], self.outputs)

    def summary(self) -> str:
        """One line: how many systems, how they ended, how fast."""
        return str(self.counts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary()})"

    def _require(self, name: str) -> None:
        if name not in self.outputs:
            raise InputError(f"{name} was not asked for; the outputs were {', '.join(self.outputs)}")

    def _per_system(self, name: str) -> np.ndarray:
        self._require(name)
        shape = QUANTITIES[name].shape
        values = [system.values.get(name, np.full(shape, np.nan)) for system in self.systems]
        return np.array(values, dtype=np.float64).reshape(len(values), *shape)


@dataclass
class Counts:
    """How many systems and atoms, how they ended, and the seconds it took."""

    n_systems: int = 0
    n_atoms: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, results: Sequence[SystemResult]) -> None:
        self.n_systems += len(results)
        self.n_atoms += sum(result.n_atoms for result in results)
        self.statuses.update(result.status for result in results)

    @property
    def n_failed(self) -> int:
        return sum(n for status, n in self.statuses.items() if not status.is_success)

    def __str__(self) -> str:
        ends = ", ".join(f"{n} {status}" for status, n in sorted(self.statuses.items()))
        return f"{self.n_systems} systems, {self.n_atoms} atoms in {self.seconds:.3g} s" + (f": {ends}" if ends else "")
