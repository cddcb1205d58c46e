"""What a benchmark found, and the arithmetic on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from shoal.throughput.timing import Timing

TOLERANCE = 0.05
"""A batch is good enough when it is this near to the best throughput."""


@dataclass(frozen=True)
class Batch:
    """Evaluations of `n_systems` with `n_atoms` in all: for each round the seconds of the neighbour list and the model.

    `memory`: bytes in use beyond those before the first call; None where that is not known.
    """

    n_systems: int
    n_atoms: int
    rounds: tuple[tuple[float, float], ...]
    memory: int | None = None

    @cached_property
    def list(self) -> Timing:
        return Timing.of([lists for lists, _ in self.rounds])

    @cached_property
    def model(self) -> Timing:
        return Timing.of([model for _, model in self.rounds])

    @cached_property
    def total(self) -> Timing:
        return Timing.of([lists + model for lists, model in self.rounds])

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
    """Where the time of a step goes: seconds an atom by part (`list`, `model`, and what moves the atoms).

    `parts` sum to the median, and share it as in the median round; `total`: seconds an atom over the rounds.
    `renewals` of the neighbour list came in `n_steps`; None where every step has a new one.
    """

    name: str
    parts: Mapping[str, float]
    total: Timing
    renewals: int | None = None
    n_steps: int = 1

    @classmethod
    def of(
        cls, name: str, rounds: Sequence[Mapping[str, float]], renewals: int | None = None, n_steps: int = 1
    ) -> Self:
        """From the seconds an atom and step of each round, by part."""
        middle = sorted(rounds, key=lambda parts: sum(parts.values()))[(len(rounds) - 1) // 2]
        total = Timing.of([sum(parts.values()) for parts in rounds])
        scale = total.median / sum(middle.values())
        return cls(name, {part: scale * value for part, value in middle.items()}, total, renewals, n_steps)

    @property
    def shares(self) -> dict[str, float]:
        """Of the parts; they sum to 1."""
        whole = sum(self.parts.values())
        return {name: value / whole for name, value in self.parts.items()}


@dataclass(frozen=True)
class Throughput:
    """All that `shoal bench` measured.

    `model`, `machine`, `versions`: what with and on what, by name. `renewal`: seconds an atom of a neighbour list with
    the skin that runs have, which `steps` pay for as often as their atoms use it up.
    """

    model: dict[str, str]
    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    rounds: int
    series: tuple[Series, ...]
    steps: tuple[Step, ...]
    renewal: Timing

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts alone: what was measured and what follows from it."""
        found = asdict(self)
        for series, row in zip(self.series, found["series"], strict=True):
            row["best_batch"] = series.best.n_atoms
            row["bytes_per_atom"] = series.memory_per_atom
            for batch, one in zip(series.batches, row["batches"], strict=True):
                for name in ("list", "model", "total"):
                    one[name] = asdict(getattr(batch, name))
                one["microseconds_per_atom"] = batch.microseconds_per_atom
                one["atoms_per_second"] = batch.atoms_per_second
        for step, row in zip(self.steps, found["steps"], strict=True):
            row["shares"] = step.shares
        return found

    def summary(self) -> list[str]:
        """For each kind of structures one sentence, and one on lists."""
        renewal = f"renewing a neighbour list with its skin: {self.renewal.per(1)} us/atom, when atoms have used it up"
        return [*(_sentence(series) for series in self.series), renewal]


def _sentence(series: Series) -> str:
    best, memory = series.best, series.memory_per_atom
    grows = "" if memory is None else f"; memory grows by {memory / 1000:.1f} kB an atom"
    return (
        f"{series.name}: best batch {best.n_systems} systems, {best.n_atoms} atoms: "
        f"{best.microseconds_per_atom:.2f} us/atom, {best.atoms_per_second:,.0f} atoms/s{grows}"
    )
