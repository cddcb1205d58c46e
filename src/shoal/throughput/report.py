"""What a benchmark found, and the arithmetic on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shoal.throughput.timing import Timing

TOLERANCE = 0.05
"""A batch is good enough when it is this near to the best throughput."""


@dataclass(frozen=True)
class Batch:
    """Evaluations of `n_systems` with `n_atoms` in all: seconds of the neighbour list, of the model, and of both.

    `memory`: bytes in use beyond those before the first call; None where that is not known.
    """

    n_systems: int
    n_atoms: int
    list: Timing
    model: Timing
    total: Timing
    memory: int | None

    @property
    def microseconds_per_atom(self) -> float:
        return 1e6 * self.total.median / self.n_atoms

    @property
    def atoms_per_second(self) -> float:
        return self.n_atoms / self.total.median


@dataclass(frozen=True)
class Series:
    """Batches of structures of one kind, the smallest first."""

    name: str
    batches: tuple[Batch, ...]

    @property
    def best(self) -> Batch:
        return best_batch(self.batches)

    @property
    def memory_per_atom(self) -> float | None:
        """Bytes, of the largest batch."""
        largest = self.batches[-1]
        return None if largest.memory is None else largest.memory / largest.n_atoms


def best_batch(batches: Sequence[Batch], tolerance: float = TOLERANCE) -> Batch:
    """The one of fewest atoms whose atoms per second are within `tolerance` of the most."""
    most = max(batch.atoms_per_second for batch in batches)
    enough = [batch for batch in batches if batch.atoms_per_second >= (1 - tolerance) * most]
    return min(enough, key=lambda batch: batch.n_atoms)


@dataclass(frozen=True)
class Step:
    """Where the time of a step goes: microseconds an atom by part (`list`, `model`, and what moves the atoms).

    `parts` are those of the median round, `total` the seconds an atom of all rounds. `renewals` of the neighbour list
    came in `n_steps`; None where every step has a new one.
    """

    name: str
    parts: Mapping[str, float]
    total: Timing
    renewals: int | None = None
    n_steps: int = 1

    @property
    def shares(self) -> dict[str, float]:
        """Of the parts; they sum to 1."""
        whole = sum(self.parts.values())
        return {name: value / whole for name, value in self.parts.items()}


@dataclass(frozen=True)
class Throughput:
    """All that `shoal bench` measured. `model`, `machine`, `versions`: what with and on what, by name."""

    model: dict[str, str]
    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    rounds: int
    series: tuple[Series, ...]
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts alone: what was measured and what follows from it."""
        found = asdict(self)
        for series, row in zip(self.series, found["series"], strict=True):
            row["best_batch"] = series.best.n_atoms
            row["bytes_per_atom"] = series.memory_per_atom
            for batch, one in zip(series.batches, row["batches"], strict=True):
                one["microseconds_per_atom"] = batch.microseconds_per_atom
                one["atoms_per_second"] = batch.atoms_per_second
        for step, row in zip(self.steps, found["steps"], strict=True):
            row["shares"] = step.shares
        return found

    def summary(self) -> list[str]:
        """For each kind of structures one sentence."""
        return [_sentence(series) for series in self.series]


def _sentence(series: Series) -> str:
    best, memory = series.best, series.memory_per_atom
    grows = "" if memory is None else f"; memory grows by {memory / 1000:.1f} kB an atom"
    return (
        f"{series.name}: best batch {best.n_systems} systems, {best.n_atoms} atoms: "
        f"{best.microseconds_per_atom:.2f} us/atom, {best.atoms_per_second:,.0f} atoms/s{grows}"
    )
