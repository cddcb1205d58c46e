"""Parameters of optimizers."""

from __future__ import annotations

from math import inf
from typing import Any

from shoal.errors import InputError


def check_positive(method: object, *names: str) -> None:
    """Raises InputError for parameters of a method that are not positive and finite."""
    for name in names:
        value: Any = getattr(method, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise InputError(f"{type(method).__name__}: {name} must be positive, got {value!r}")
