"""Polynomials in x, y, z: what the harmonics are, as text of C++ and as something to differentiate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from shoal.nn.harmonics import DEGREES

Powers = tuple[int, int, int]
NAMES = ("x", "y", "z")


class Polynomial:
    """A sum of monomials, each with its coefficient; combines with numbers and its like by + - *."""

    def __init__(self, terms: Mapping[Powers, float]) -> None:
        self.terms = {powers: value for powers, value in terms.items() if value != 0}

    @classmethod
    def of(cls, value: Polynomial | float) -> Polynomial:
        return value if isinstance(value, Polynomial) else cls({(0, 0, 0): float(value)})

    def __add__(self, other: Polynomial | float) -> Polynomial:
        total = dict(self.terms)
        for powers, value in Polynomial.of(other).terms.items():
            total[powers] = total.get(powers, 0.0) + value
        return Polynomial(total)

    def __mul__(self, other: Polynomial | float) -> Polynomial:
        total: dict[Powers, float] = {}
        for (i, j, k), a in self.terms.items():
            for (l, m, n), b in Polynomial.of(other).terms.items():
                powers = (i + l, j + m, k + n)
                total[powers] = total.get(powers, 0.0) + a * b
        return Polynomial(total)

    def __sub__(self, other: Polynomial | float) -> Polynomial:
        return self + Polynomial.of(other) * -1.0

    def __rsub__(self, other: float) -> Polynomial:
        return Polynomial.of(other) - self

    __radd__, __rmul__ = __add__, __mul__

    def derivative(self, axis: int) -> Polynomial:
        """By x, y or z (0, 1, 2)."""
        terms = {}
        for powers, value in self.terms.items():
            if powers[axis]:
                lower = (*powers[:axis], powers[axis] - 1, *powers[axis + 1 :])
                terms[lower] = value * powers[axis]
        return Polynomial(terms)  # type: ignore[arg-type]

    def text(self) -> str:
        """As C++, in Horner's form by the variable that most monomials share."""
        return _horner(self.terms) if self.terms else "splat(0)"


def _horner(terms: Mapping[Powers, float]) -> str:
    if len(terms) == 1:
        ((powers, value),) = terms.items()
        factors = [NAMES[axis] for axis in range(3) for _ in range(powers[axis])]
        if not factors:
            return f"splat({number(value)})"
        return " * ".join(factors if value == 1 else [number(value), *factors])
    axis = max(range(3), key=lambda each: sum(powers[each] > 0 for powers in terms))
    inside = {
        (*powers[:axis], powers[axis] - 1, *powers[axis + 1 :]): value
        for powers, value in terms.items()
        if powers[axis]
    }
    outside = {powers: value for powers, value in terms.items() if not powers[axis]}
    product = f"{NAMES[axis]} * ({_horner(inside)})"  # type: ignore[arg-type]
    return f"{product} + {_horner(outside)}" if outside else product


def number(value: float) -> str:
    """A literal with all digits of float64, in the kernel's precision."""
    return f"real({value!r})"


@cache
def harmonics(l_max: int) -> list[Polynomial]:
    """The (l_max + 1)^2 real harmonics of `shoal.nn.harmonics`."""
    x, y, z = (Polynomial({powers: 1.0}) for powers in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    found = [Polynomial({(0, 0, 0): 1.0})]
    for degree in DEGREES[:l_max]:
        found += degree(x, y, z)  # type: ignore[arg-type]
    return found
