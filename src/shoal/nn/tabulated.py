"""Radial weights as tables: cubic splines with continuous curvature.

E edges, K pieces, W weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from shoal.nn.radial import BesselBasis

LEAST_SHARE = 1e-9
"""In place of x = 0, where the basis is 0 / 0."""


def spline_table(function: Callable[[Tensor], Tensor], pieces: int) -> Tensor:
    """(K + 1, 2, W) float64: values and slopes (per piece) at x = 0, 1/K, ..., 1 of a function (K + 1,) -> (K + 1, W).

    The slopes are those of the spline through the values that starts and ends level, as radial weights of shares of
    the cutoff do: bases are even in x, and their envelope vanishes with three derivatives at x = 1.
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


class Shares(nn.Module):
    """Takes the place of a basis whose functions a table holds: hands on the shares of the cutoff."""

    trainable = True  # what comes of it is made anew for each model

    def forward(self, x: Tensor) -> Tensor:
        """(E, 1) from (E,)."""
        return x[:, None]


class TabulatedRadial(nn.Module):
    """A network of a basis as a table: (E, W) from shares of the cutoff (E, 1)."""

    table: Tensor

    def __init__(self, network: nn.Module, basis: BesselBasis, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        with torch.no_grad():
            self.register_buffer("table", spline_table(lambda x: network(basis(x)), pieces), persistent=False)

    def forward(self, shares: Tensor) -> Tensor:
        place = shares[:, 0].clamp(max=1.0) * self.pieces
        knot = place.detach().floor().clamp(0, self.pieces - 1).to(torch.int64)
        t = (place - knot)[:, None]
        (a, slope_a), (b, slope_b) = self.table[knot].unbind(1), self.table[knot + 1].unbind(1)
        s = 1 - t
        return s * s * (1 + 2 * t) * a + t * s * s * slope_a + t * t * (3 - 2 * t) * b - t * t * s * slope_b
