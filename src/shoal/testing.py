"""The one comparator of the project's tests, and of those who test their own potentials."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

Values = torch.Tensor | ArrayLike


def close(actual: Values, expected: Values, tol: float, *, scale: float | None = None) -> None:
    """Assert abs(actual - expected) <= tol * max(1, scale) everywhere.

    `scale`: the largest absolute value of that quantity in that system, by default of `expected`; energies are given
    per atom with reference energies removed. NaN and infinity are close to nothing. Raises AssertionError naming the
    worst entry.
    """
    a, b = _array(actual), _array(expected)
    if a.shape != b.shape:
        raise AssertionError(f"shapes differ: {a.shape} and {b.shape}")
    if a.size == 0:
        return
    largest = float(np.abs(b).max()) if scale is None else float(scale)
    allowed = tol * max(1.0, largest)
    difference = np.abs(a - b)
    if not ((difference <= allowed) & np.isfinite(b)).all():
        worst = np.unravel_index(np.argmax(np.where(np.isfinite(difference), difference, np.inf)), a.shape)
        place = tuple(int(k) for k in worst)
        raise AssertionError(
            f"differ by {difference[worst]:.3e} at {place}: {a[worst]:.12g} against {b[worst]:.12g}; "
            f"allowed {allowed:.1e} (tol {tol:.0e}, scale {largest:.3g})"
        )


def _array(values: Values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
