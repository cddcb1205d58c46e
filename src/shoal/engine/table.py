"""The table that results make: which columns there are, and one row of it.

Columns: id, source, formula, n_atoms, status, reason; then, as far as asked for, energy (eV), fmax (eV/A, the largest
force), pressure (GPa, of the potential alone) and the other quantities as arrays in their own units.

N atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.units import GPA

if TYPE_CHECKING:
    from shoal.engine.outcome import SystemResult

Row = Mapping[str, Any]


def largest_force(forces: np.ndarray) -> float:
    """The largest norm among forces (N, 3); 0 without atoms."""
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def pressure(stress: np.ndarray) -> float:
    """Minus a third of the trace of a stress (3, 3) eV/A^3, in GPa."""
    return -float(np.trace(stress)) / 3 / GPA


IDENTITY = ("id", "source", "formula", "n_atoms", "status", "reason")
INTEGERS = ("id", "n_atoms")
NUMBERS: dict[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "energy": ("energy", float),
    "fmax": ("forces", largest_force),
    "pressure": ("stress", pressure),
}
"""Column of one number per system -> the quantity it comes from, and how."""


def number_columns(outputs: Sequence[str]) -> list[str]:
    """The columns of one number per system that these outputs give."""
    return [name for name, (quantity, _) in NUMBERS.items() if quantity in outputs]


def array_columns(outputs: Sequence[str]) -> list[str]:
    """The columns that hold arrays."""
    return [name for name in outputs if name not in NUMBERS]


def as_row(result: SystemResult, outputs: Sequence[str]) -> dict[str, Any]:
    """One row by column; None for what is not known or not finite (the status says why)."""
    finite = {name: value for name, value in result.values.items() if np.isfinite(value).all()}
    numbers = ((name, *NUMBERS[name]) for name in number_columns(outputs))
    return {
        "id": result.system_id,
        "source": result.source,
        "formula": result.structure().get_chemical_formula(),
        "n_atoms": result.n_atoms,
        "status": str(result.status),
        "reason": result.reason,
        **{name: of(finite[quantity]) if quantity in finite else None for name, quantity, of in numbers},
        **{name: finite.get(name) for name in array_columns(outputs)},
    }


def as_columns(rows: Sequence[Row], outputs: Sequence[str]) -> dict[str, Any]:
    """Rows as columns: numpy arrays for numbers (NaN for None), lists for the rest."""
    table: dict[str, Any] = {}
    for name in (*IDENTITY, *number_columns(outputs), *array_columns(outputs)):
        values = [row[name] for row in rows]
        if name in INTEGERS:
            table[name] = np.array(values, dtype=np.int64)
        elif name in NUMBERS:
            table[name] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        else:
            table[name] = values
    return table
