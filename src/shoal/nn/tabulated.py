"""Tables of radial weights: cubic splines with continuous curvature.

K pieces, W weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEAST_SHARE = 1e-9
"""In place of x = 0, where the basis is 0 / 0."""


def spline_table(function: Callable[[Tensor], Tensor], pieces: int) -> Tensor:
    """(K + 1, 2, W) float64: values and slopes (per piece) at x = 0, 1/K, ..., 1 of a function (K + 1,) -> (K + 1, W).

    The slopes are those of the spline through the values that starts and ends level, as radial weights of shares of
    the cutoff do: bases are even in x, and their envelope vanishes with its slope and curvature at x = 1.
    """
    x = torch.arange(pieces + 1, dtype=torch.float64) / pieces
    x[0] = LEAST_SHARE
    values = function(x)
    values = torch.cat([values[:-1], torch.zeros_like(values[-1:])])
    system = torch.diag(torch.full((pieces + 1,), 4.0, dtype=torch.float64))
    ones = torch.ones(pieces, dtype=torch.float64)
    system += torch.diag(ones, 1) + torch.diag(ones, -1)
    for end in (0, -1):
        system[end] = 0.0
        system[end, end] = 1.0
    level = torch.zeros_like(values[:1])
    right = torch.cat([level, 3 * (values[2:] - values[:-2]), level])
    return torch.stack([values, torch.linalg.solve(system, right)], dim=1)


def coefficients(table: Tensor) -> Tensor:
    """(K, 4, W): of the powers 0 to 3 of 1 - t, t the place within a piece, from the values and slopes at the knots.

    So written, what is 0 at the end of the last piece is so exactly.
    """
    (start, start_slope), (end, end_slope) = table[:-1].unbind(1), table[1:].unbind(1)
    rise = start - end
    return torch.stack(
        [end, -end_slope, 3 * rise + 2 * end_slope + start_slope, -2 * rise - end_slope - start_slope], 1
    )
