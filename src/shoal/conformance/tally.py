"""Differences as a check measures them, and the verdict that follows from all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shoal.conformance.verdicts import Verdict


class NotApplicable(Exception):
    """Raised by a check that has nothing to judge; its message is the reason."""


@dataclass(frozen=True)
class Item:
    """One measured value. `rule`: an S rule of the contract; `declared`: how the capabilities excuse a failure."""

    what: str
    value: float
    tolerance: float
    rule: str = ""
    declared: str = ""

    @property
    def excess(self) -> float:
        """Above 1 the value is beyond its tolerance; NaN is far beyond."""
        if np.isnan(self.value):
            return np.inf
        if self.tolerance == 0:
            return np.inf if self.value > 0 else 0.0
        return self.value / self.tolerance


class Tally:
    """Collects the values of one check. A model that is not Shoal's (`ours` false) may break S rules with a note."""

    def __init__(self, ours: bool = True, strict: bool = False) -> None:
        self.items: list[Item] = []
        self.lenient = not ours and not strict

    def add(self, what: str, value: float, tolerance: float, *, rule: str = "", declared: str = "") -> None:
        """A value that must not exceed its tolerance."""
        self.items.append(Item(what, float(value), tolerance, rule, declared))

    def require(self, what: str, holds: bool, *, rule: str = "", declared: str = "") -> None:
        """Something that must be so."""
        self.add(what, 0.0 if holds else np.inf, 0.0, rule=rule, declared=declared)

    def compare(
        self,
        what: str,
        actual: ArrayLike,
        expected: ArrayLike,
        tolerance: float,
        *,
        scale: float | None = None,
        rule: str = "",
        declared: str = "",
    ) -> None:
        """abs(actual - expected) <= tolerance * max(1, scale); `scale`: the largest expected value."""
        a, b = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
        if a.shape != b.shape:
            self.require(f"{what}: shapes {a.shape} and {b.shape}", False, rule=rule, declared=declared)
            return
        if not a.size:
            return
        largest = np.abs(b).max() if scale is None else scale
        difference = np.abs(a - b) / max(1.0, float(largest))
        if difference.ndim:
            worst = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference)), difference.shape)
            what += f" at {tuple(int(k) for k in worst)}" if len(worst) else ""
            value = float(difference[worst])
        else:
            value = float(difference)
        self.add(what, value, tolerance, rule=rule, declared=declared)

    def verdict(self) -> tuple[Verdict, Item | None]:
        """The gravest verdict of all items, and the item that is worst among those of it."""
        if not self.items:
            return Verdict.NOT_APPLICABLE, None
        graded = [(self._grade(item), item) for item in self.items]
        gravest = max((grade for grade, _ in graded), key=_GRAVITY.index)
        return gravest, max((item for grade, item in graded if grade is gravest), key=lambda item: item.excess)

    def _grade(self, item: Item) -> Verdict:
        if item.excess <= 1:
            return Verdict.PASS
        if item.declared:
            return Verdict.DECLARED
        return Verdict.NOTE if item.rule.startswith("S") and self.lenient else Verdict.FAIL


_GRAVITY = (Verdict.PASS, Verdict.DECLARED, Verdict.NOTE, Verdict.FAIL)
