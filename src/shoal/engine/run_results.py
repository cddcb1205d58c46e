"""What `simulate` and `relax` give back.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoal.engine.outcome import Counts, EvaluationResults, SystemResult
from shoal.errors import InputError
from shoal.state import SimState, concatenate, select


@dataclass(frozen=True)
class RunInfo:
    """How a run was done: the method, the seed (None where nothing is random), whether its steps were compiled, how
    often neighbour lists were renewed, and the number of atom-steps."""

    method: str
    seed: int | None = None
    compiled: bool = False
    n_rebuilds: int = 0
    atom_steps: int = 0


class RunResults(EvaluationResults):
    """Results of systems that were moved, in input order; `n_steps` (S,) says how many steps each took."""

    def __init__(
        self,
        outputs: Sequence[str],
        systems: Sequence[SystemResult],
        counts: Counts,
        info: RunInfo,
        states: Sequence[SimState],
        path: Path | None = None,
    ) -> None:
        super().__init__(outputs, systems, counts, path)
        self.info = info
        self._states = states

    @property
    def seed(self) -> int | None:
        """What `seed=` repeats this run; None where nothing was random."""
        return self.info.seed

    @property
    def n_steps(self) -> np.ndarray:
        """(S,) int64: steps that each system took."""
        return np.array([system.n_steps or 0 for system in self.systems], dtype=np.int64)

    @property
    def state(self) -> SimState:
        """The last frames of all systems that could be moved, in input order, to be written, or run on.

        Raises InputError if there is none, or if the results are in a file.
        """
        if not self._states:
            raise InputError("no system could be moved, so there is no state to go on from")
        moved = concatenate(self._states)
        rows = {system_id: row for row, system_id in enumerate(moved.system_id.tolist())}
        return select(moved, [rows[system.system_id] for system in self.systems if system.system_id in rows])

    def to_table(self) -> dict[str, Any]:
        """Columns by name, ready for `pandas.DataFrame`: those of `evaluate`, and n_steps."""
        return {**super().to_table(), "n_steps": self.n_steps if self.systems else np.zeros(0, dtype=np.int64)}

    def summary(self) -> str:
        """One line: how many systems, how they ended, how fast."""
        rate = self.info.atom_steps / self.counts.seconds if self.counts.seconds else 0.0
        how = "compiled" if self.info.compiled else "eager"
        return f"{self.info.method}, {how}: {self.counts}; {rate:,.0f} atom-steps/s"
