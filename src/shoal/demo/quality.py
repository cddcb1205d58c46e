"""What the demo asks of its own model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.demo.equation_of_state import Comparison
    from shoal.properties import Accuracy

FORCE_RMSE = 0.15  # eV/A
VOLUME = 0.01
BULK_MODULUS = 0.10


@dataclass(frozen=True)
class Check:
    """A figure and the limit its size must not exceed; NaN does not pass."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        return abs(self.value) <= self.limit

    @property
    def shown(self) -> str:
        return self._format(self.value, "+")

    @property
    def limit_shown(self) -> str:
        return self._format(self.limit, "")

    def _format(self, value: float, sign: str) -> str:
        return f"{100 * value:{sign}.2f} %" if self.unit == "%" else f"{value:.3f} {self.unit}"


def quality(accuracy: Accuracy, equation: Comparison) -> list[Check]:
    """Force error on the held-out frames; equilibrium volume and bulk modulus beside those of the labels."""
    return [
        Check("force RMSE (held out)", accuracy.total["forces"].rmse / 1000, FORCE_RMSE, "eV/A"),
        Check("equilibrium volume error", equation.volume_error, VOLUME, "%"),
        Check("bulk modulus error", equation.bulk_modulus_error, BULK_MODULUS, "%"),
    ]
