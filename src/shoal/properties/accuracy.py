"""How far a potential is from labelled data: the verb `test`.

N atoms. Errors: energy in meV/atom, forces in meV/A (over all components), stress in meV/A^3 (over all nine).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.engine import BatchCalculator, SystemResult, evaluate
from shoal.engine.intake import frames_of
from shoal.errors import DataError
from shoal.io import LabelKeys, Labels, read_labels

if TYPE_CHECKING:
    from ase import Atoms

    from shoal.potentials import Potential

QUANTITIES = ("energy", "forces", "stress")
UNITS = {"energy": "meV/atom", "forces": "meV/A", "stress": "meV/A^3"}
RANKED = ("energy", "forces")
UNGROUPED = "(none)"


@dataclass(frozen=True)
class ErrorStatistics:
    """Mean absolute and root mean square error of n numbers."""

    mae: float
    rmse: float
    n: int


@dataclass(frozen=True, eq=False)
class FrameComparison:
    """Labels beside predictions of one structure: quantity -> (label, prediction), eV, eV/A, eV/A^3."""

    place: int
    source: str
    group: str
    symbols: tuple[str, ...]
    pairs: dict[str, tuple[np.ndarray, np.ndarray]]

    def parity(self, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions, flat; energy in eV/atom; empty where there is no label."""
        label, prediction = self.pairs.get(quantity, (np.zeros(0), np.zeros(0)))
        per = len(self.symbols) if quantity == "energy" else 1
        return np.ravel(label) / per, np.ravel(prediction) / per

    def errors(self, quantity: str) -> np.ndarray:
        """Prediction less label in the units of `UNITS`, flat; empty where there is no label."""
        label, prediction = self.parity(quantity)
        return (prediction - label) * 1e3

    def element_errors(self, symbol: str) -> np.ndarray:
        """Force errors of the atoms of one element, flat, meV/A."""
        errors = self.errors("forces").reshape(-1, 3)
        return errors[np.array(self.symbols)[: len(errors)] == symbol].ravel()


class Accuracy:
    """Errors of a potential on labelled structures, in all, by element, by group, and frame by frame."""

    def __init__(self, frames: Sequence[FrameComparison], group_key: str) -> None:
        self.frames = tuple(frames)
        self.group_key = group_key

    @property
    def total(self) -> dict[str, ErrorStatistics]:
        """Of each quantity that has labels."""
        return _statistics(self.frames)

    @property
    def per_element(self) -> dict[str, ErrorStatistics]:
        """Force errors of the atoms of each element."""
        symbols = sorted({symbol for frame in self.frames for symbol in frame.symbols})
        found = {symbol: [frame.element_errors(symbol) for frame in self.frames] for symbol in symbols}
        return {symbol: statistics for symbol, errors in found.items() if (statistics := _of(errors)) is not None}

    @property
    def per_group(self) -> dict[str, dict[str, ErrorStatistics]]:
        """By the value of `group_key` in the structures' info, such as config_type."""
        groups = sorted({frame.group for frame in self.frames})
        return {group: _statistics([frame for frame in self.frames if frame.group == group]) for group in groups}

    def parity(self, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """All labels and predictions, flat; energies in eV/atom, the others in eV/A and eV/A^3."""
        labels, predictions = zip(*(frame.parity(quantity) for frame in self.frames), strict=True)
        return np.concatenate(labels), np.concatenate(predictions)

    def worst(self, n: int = 10) -> list[dict[str, Any]]:
        """The frames with the largest error of energy or forces, each in units of its RMSE over all frames."""
        usual = {name: statistics.rmse or 1.0 for name, statistics in self.total.items()}

        def badness(frame: FrameComparison) -> float:
            parts = (_of([frame.errors(name)]) for name in RANKED)
            return max((part.rmse / usual[name] for name, part in zip(RANKED, parts, strict=True) if part), default=0.0)

        return [_frame_row(frame) for frame in sorted(self.frames, key=badness, reverse=True)[:n]]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "n_frames": len(self.frames),
            "n_atoms": sum(len(frame.symbols) for frame in self.frames),
            "units": UNITS,
            "total": {name: asdict(value) for name, value in self.total.items()},
            "forces_per_element": {name: asdict(value) for name, value in self.per_element.items()},
            f"per_{self.group_key}": {
                group: {name: asdict(value) for name, value in of.items()} for group, of in self.per_group.items()
            },
            "worst_frames": self.worst(),
        }


def measure_accuracy(
    structures: Iterable[Atoms | str | Path] | str | Path,
    potential: BatchCalculator | Potential | str | Path,
    *,
    keys: LabelKeys | None = None,
    group_key: str = "config_type",
    max_atoms: int = 1024,
    device: str | None = None,
    chemical_species_to_atom_type_map: object = None,
    progress: bool = False,
    n_structures: int | None = None,
) -> Accuracy:
    """Evaluate labelled structures and compare.

    `keys`: where the labels are. A quantity counts where it has a label; stress only where the cell has a volume.
    `group_key`: the entry of `info` by which frames are grouped. The rest as for `evaluate`.

    Raises DataError if nothing is labelled, or for a label that is not finite; InputError and
    UnsupportedSpeciesError for structures that cannot be evaluated.
    """
    calculator = BatchCalculator.of(
        potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
    )
    labels: list[Labels] = []
    groups: list[str] = []

    def labelled() -> Iterator[Atoms]:
        for place, atoms in enumerate(frames_of(structures)):
            labels.append(read_labels(atoms, place, keys))
            groups.append(str(atoms.info.get(group_key, UNGROUPED)))
            yield atoms

    outputs = [name for name in QUANTITIES if name in calculator.capabilities.outputs]
    results = evaluate(
        labelled(), calculator, outputs=outputs, max_atoms=max_atoms, progress=progress, n_structures=n_structures
    )
    frames = [_compare(*item) for item in zip(results, labels, groups, strict=True)]
    if not any(frame.pairs for frame in frames):
        raise DataError(
            f"none of the {len(frames)} structures has a label that the model can be compared with; "
            "name them with --energy-key, --forces-key, --stress-key"
        )
    for name in QUANTITIES:
        asked = getattr(keys, name, name)
        if asked != name and not any(getattr(label, name) is not None for label in labels):
            raise DataError(f"none of the {len(frames)} structures has {name} labels named {asked!r}")
    return Accuracy(frames, group_key)


def _compare(result: SystemResult, labels: Labels, group: str) -> FrameComparison:
    pairs = {}
    for name in QUANTITIES:
        label, prediction = getattr(labels, name), result.values.get(name)
        if label is not None and prediction is not None and np.isfinite(prediction).all():
            pairs[name] = (np.asarray(label), np.asarray(prediction))
    symbols = tuple(result.structure().get_chemical_symbols())
    return FrameComparison(result.system_id, result.source, group, symbols, pairs)


def _statistics(frames: Sequence[FrameComparison]) -> dict[str, ErrorStatistics]:
    found = {name: _of([frame.errors(name) for frame in frames]) for name in QUANTITIES}
    return {name: statistics for name, statistics in found.items() if statistics is not None}


def _of(parts: Sequence[np.ndarray]) -> ErrorStatistics | None:
    errors = np.concatenate(parts) if parts else np.zeros(0)
    if not errors.size:
        return None
    return ErrorStatistics(float(np.abs(errors).mean()), float(np.sqrt(np.square(errors).mean())), errors.size)


def _frame_row(frame: FrameComparison) -> dict[str, Any]:
    energy, forces = frame.errors("energy"), frame.errors("forces").reshape(-1, 3)
    norms = np.linalg.norm(forces, axis=1)
    return {
        "frame": frame.place,
        "source": frame.source,
        "group": frame.group,
        "energy_error": float(energy[0]) if energy.size else None,
        "forces_rmse": float(np.sqrt(np.square(forces).mean())) if forces.size else None,
        "forces_max": float(norms.max()) if norms.size else None,
        "worst_atom": int(norms.argmax()) if norms.size else None,
    }
