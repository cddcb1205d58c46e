"""Parameters of a run: single numbers, and those that may differ by system, as tensors.

S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
import torch

from shoal.errors import InputError
from shoal.motion import PerSystem, Systems


def check_whole(least: int, **values: Any) -> None:
    """Raises InputError for values that are no whole numbers of at least `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not value >= least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_positive(values: Mapping[str, Any]) -> None:
    """Raises InputError for values, by name, that are not positive and finite numbers."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise InputError(f"{name} must be positive, got {value!r}")


def not_negative(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is negative or not finite."""
    return _checked(name, value, systems, lambda picked: picked >= 0, "not be negative")


def positive(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is not positive and finite."""
    return _checked(name, value, systems, lambda picked: picked > 0, "be positive")


def finite(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is not finite."""
    return _checked(name, value, systems, torch.isfinite, "be finite")


def _checked(
    name: str, value: Any, systems: Systems, allowed: Callable[[torch.Tensor], torch.Tensor], must: str
) -> torch.Tensor:
    try:
        picked = systems.pick(value)
    except (TypeError, ValueError, IndexError, RuntimeError):
        raise InputError(
            f"{name} must be a number, or one number for each system of the input; got {value!r}"
        ) from None
    if picked.dim() != 1 or not bool((allowed(picked) & torch.isfinite(picked)).all()):
        raise InputError(f"{name} must {must}, got {value!r}")
    return picked
