"""Parameters of optimizers."""

from __future__ import annotations

from shoal.parameters import check_positive as check


def check_positive(method: object, *names: str) -> None:
    """Raises InputError for parameters of a method that are not positive and finite."""
    check({f"{type(method).__name__}: {name}": getattr(method, name) for name in names})
