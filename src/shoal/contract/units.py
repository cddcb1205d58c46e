"""Units by expression: `kJ/mol`, `eV/A^3`, `Ha/Bohr`, `eV*A/fs`, `(eV*u)^(1/2)`. Case matters: `MeV` is not `meV`.

Written here because the field's own parser (metatomic's) reads MeV as meV and general ones read A as ampere. Each
unit is a number of SI units with exponents of metre, kilogram, second and coulomb (CODATA 2018); mol is a number.
"""

from __future__ import annotations

import difflib
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, NoReturn

from shoal.errors import InputError


class Unit(NamedTuple):
    """A factor to SI and the exponents of metre, kilogram, second and coulomb."""

    factor: float
    dimension: tuple[Fraction, ...]

    def times(self, other: Unit, sign: int = 1) -> Unit:
        dimension = tuple(a + sign * b for a, b in zip(self.dimension, other.dimension, strict=True))
        return Unit(self.factor * other.factor**sign, dimension)

    def power(self, exponent: Fraction) -> Unit:
        return Unit(self.factor ** float(exponent), tuple(exponent * d for d in self.dimension))


def _unit(factor: float, metre: int = 0, kilogram: int = 0, second: int = 0, coulomb: int = 0) -> Unit:
    return Unit(factor, tuple(map(Fraction, (metre, kilogram, second, coulomb))))


_NUMBER = _unit(1.0)
_ENERGY, _PRESSURE = (2, 1, -2), (-1, 1, -2)
_ELEMENTARY_CHARGE, _BOHR, _HARTREE, _ATOMIC_MASS = (
    1.602176634e-19,
    5.29177210903e-11,
    4.3597447222071e-18,
    1.66053906660e-27,
)

_PREFIXED = {
    "eV": _unit(_ELEMENTARY_CHARGE, *_ENERGY),
    "J": _unit(1.0, *_ENERGY),
    "cal": _unit(4.184, *_ENERGY),
    "Ha": _unit(_HARTREE, *_ENERGY),
    "Ry": _unit(_HARTREE / 2, *_ENERGY),
    "m": _unit(1.0, 1),
    "s": _unit(1.0, 0, 0, 1),
    "g": _unit(1e-3, 0, 1),
    "Pa": _unit(1.0, *_PRESSURE),
    "bar": _unit(1e5, *_PRESSURE),
    "N": _unit(1.0, 1, 1, -2),
    "C": _unit(1.0, 0, 0, 0, 1),
}
_PREFIXES = {
    "f": 1e-15,
    "p": 1e-12,
    "n": 1e-9,
    "u": 1e-6,
    "µ": 1e-6,
    "m": 1e-3,
    "c": 1e-2,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
}
_WHOLE = {
    "A": _unit(1e-10, 1),
    "Å": _unit(1e-10, 1),
    "angstrom": _unit(1e-10, 1),
    "Angstrom": _unit(1e-10, 1),
    "Bohr": _unit(_BOHR, 1),
    "bohr": _unit(_BOHR, 1),
    "Hartree": _PREFIXED["Ha"],
    "hartree": _PREFIXED["Ha"],
    "Rydberg": _PREFIXED["Ry"],
    "rydberg": _PREFIXED["Ry"],
    "u": _unit(_ATOMIC_MASS, 0, 1),
    "Da": _unit(_ATOMIC_MASS, 0, 1),
    "e": _unit(_ELEMENTARY_CHARGE, 0, 0, 0, 1),
    "atm": _unit(101325.0, *_PRESSURE),
    "mol": _unit(6.02214076e23),
}
UNITS = (
    _WHOLE
    | _PREFIXED
    | {p + name: Unit(f * u.factor, u.dimension) for name, u in _PREFIXED.items() for p, f in _PREFIXES.items()}
)
_TOKEN = re.compile(r"\s*([^\W\d_]+|\d+(?:\.\d+)?|\*\*|[*/^()+-])")


def unit_factor(given: str, wanted: str) -> float:
    """What a value in `given` is multiplied by to be in `wanted`.

    Raises InputError for an unknown word, a malformed expression, or units of different dimensions.
    """
    a, b = parse_unit(given), parse_unit(wanted)
    if a.dimension != b.dimension:
        raise InputError(
            f"cannot convert {given or 'a number without unit'!r} to {wanted!r}: they measure different things"
        )
    return a.factor / b.factor


@lru_cache(maxsize=256)
def parse_unit(expression: str) -> Unit:
    """The unit an expression stands for; an empty one is a plain number. Raises InputError."""
    if not expression.strip():
        return _NUMBER
    parser = _Parser(expression)
    unit = parser.product()
    if parser.tokens:
        parser.fail(f"{parser.tokens[0]!r} is out of place")
    return unit


class _Parser:
    """product = power (("*" | "/") power)*; power = atom (("^" | "**") exponent)?; atom = word | number | (product)."""

    def __init__(self, expression: str) -> None:
        self.expression, self.tokens, place = expression, [], 0
        while expression[place:].strip():
            match = _TOKEN.match(expression, place)
            if match is None:
                self.fail(f"{expression[place:].strip()[0]!r} has no meaning")
            self.tokens.append(match[1])
            place = match.end()

    def fail(self, why: str) -> NoReturn:
        raise InputError(f"unit {self.expression!r}: {why}")

    def next(self, *wanted: str) -> str:
        """Take the next token if it is among those wanted, else nothing."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else ""

    def product(self) -> Unit:
        unit = self.power()
        while sign := self.next("*", "/"):
            unit = unit.times(self.power(), 1 if sign == "*" else -1)
        return unit

    def power(self) -> Unit:
        unit = self.atom()
        return unit.power(self.exponent()) if self.next("^", "**") else unit

    def atom(self) -> Unit:
        if self.next("("):
            unit = self.product()
            self.close()
            return unit
        if not self.tokens:
            self.fail("it ends too early")
        word = self.tokens.pop(0)
        if word[0].isdigit():
            if float(word) == 0:
                self.fail("it is zero")
            return _unit(float(word))
        if word not in UNITS:
            same = [name for name in UNITS if name.lower() == word.lower()] or difflib.get_close_matches(word, UNITS, 3)
            self.fail(f"{word!r} is unknown" + (f"; did you mean {' or '.join(same)}? Case matters" if same else ""))
        return UNITS[word]

    def exponent(self) -> Fraction:
        if self.next("("):
            number = self.number()
            if self.next("/"):
                number /= self.number()
            self.close()
            return number
        return self.number()

    def number(self) -> Fraction:
        sign = -1 if self.next("-") else 1
        self.next("+")
        if not self.tokens or not self.tokens[0][0].isdigit():
            self.fail("an exponent is a number")
        number = Fraction(self.tokens.pop(0))
        if number == 0:
            self.fail("an exponent is not zero")
        return sign * number

    def close(self) -> None:
        if not self.next(")"):
            self.fail("a bracket is not closed")
