"""The comparator of all tests accepts what lies within its tolerance and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shoal.testing import close

NAN = float("nan")


@pytest.mark.parametrize(
    ("actual", "expected", "tol", "scale"),
    [
        (1.0, 1.0 + 0.9e-6, 1e-6, None),
        (1e-3, 1e-3 + 0.9e-6, 1e-6, None),  # scales below 1 count as 1
        ([100.0, 0.0], [100.0, 0.9e-4], 1e-6, None),  # the largest value sets the scale of all
        ([0.0], [0.9e-3], 1e-6, 1000.0),
        (torch.ones(2, dtype=torch.float64, requires_grad=True), np.ones(2), 0, None),
        (np.zeros((0, 3)), torch.zeros(0, 3), 0, None),
    ],
)
def test_values_within_the_tolerance_pass(actual: object, expected: object, tol: float, scale: float | None) -> None:
    close(actual, expected, tol, scale=scale)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("actual", "expected", "tol", "scale", "named"),
    [
        (1.0, 1.0 + 1.1e-6, 1e-6, None, r"differ by 1.1\d\de-06 at \(\)"),
        (
            [1e4, 1.0],
            [1e4, 1.011],
            1e-6,
            None,
            r"\(1,\): 1 against 1.011; allowed 1.0e-02 \(tol 1e-06, scale 1e\+04",
        ),
        ([1e4, 1.0], [1e4, 1.011], 1e-6, 1.0, r"at \(1,\)"),
        ([0.0, NAN], [0.0, 0.0], 1e9, None, r"at \(1,\): nan against 0"),
        ([0.0, 0.0], [0.0, NAN], 1e9, None, r"at \(1,\)"),
        ([NAN], [NAN], 1e9, None, "differ"),
        ([np.inf], [1.0], 1e9, None, "differ by inf"),
        ([1.0], [np.inf], 1e9, None, "differ"),
        (np.zeros(3), np.zeros((1, 3)), 1.0, None, r"shapes differ: \(3,\) and \(1, 3\)"),
    ],
)
def test_values_beyond_it_fail_and_the_worst_is_named(
    actual: object, expected: object, tol: float, scale: float | None, named: str
) -> None:
    with pytest.raises(AssertionError, match=named):
        close(actual, expected, tol, scale=scale)  # type: ignore[arg-type]
