"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


@dataclass(frozen=True)
class Check:
    """One law. `run` measures it on a lab into a tally, or raises NotApplicable with the reason.

    `meaning`: what a failure means to a user.
    """

    number: int
    name: str
    law: str
    meaning: str
    run: Callable[[Lab, Tally], None]
