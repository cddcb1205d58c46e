"""The quantities a potential can give on a packed state: one table, read by everything that checks or documents them.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.errors import UnsupportedRequestError


@dataclass(frozen=True)
class Quantity:
    """Name, scope ("system" or "atom" rows), shape behind the rows, unit and meaning of one output.

    `exact`: always float64, because reference energies may be large; the others come in the dtype of the state.
    """

    name: str
    scope: str
    shape: tuple[int, ...]
    unit: str
    meaning: str
    exact: bool = False


QUANTITIES = {
    q.name: q
    for q in (
        Quantity("energy", "system", (), "eV", "potential energy, always float64", exact=True),
        Quantity("forces", "atom", (3,), "eV/A", "minus the gradient of the energy in the positions"),
        Quantity(
            "stress",
            "system",
            (3, 3),
            "eV/A^3",
            "Cauchy stress, positive under tension; NaN without a volume",
        ),
        Quantity("virial", "system", (3, 3), "eV", "minus volume times stress; finite always"),
        Quantity(
            "atomic_energy", "atom", (), "eV", "energy of each atom, always float64; sums to the energy", exact=True
        ),
    )
}

DEFAULT_OUTPUTS = ("energy", "forces", "stress")


def check_outputs(requested: Iterable[str], available: Iterable[str], who: str) -> tuple[str, ...]:
    """The requested names as a tuple. Raises UnsupportedRequestError naming what `who` can give."""
    names = (requested,) if isinstance(requested, str) else tuple(requested)
    available = tuple(available)
    for name in names:
        if name not in available:
            raise UnsupportedRequestError(f"{who} cannot give {name!r}; it gives {', '.join(available)}")
    return names
