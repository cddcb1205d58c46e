"""Radial weights by the cubic splines of the deployed kernel, in training and in its package: one model throughout.

The network is evaluated at the knots only; its weights, and trained orders of the basis, learn through the table. Names
of parameters stay those of the exact model. E edges, K pieces, W weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from shoal.architectures.base import AtomicEnergyModel
from shoal.architectures.nequip import NequIP
from shoal.errors import ConfigError
from shoal.nn import BesselBasis, Convolution, ScalarMLP
from shoal.nn.convolution import NativeConvolution
from shoal.nn.interpolation import interpolate, interpolate_native
from shoal.nn.tabulated import LEAST_SHARE, spline_table


class SplineCoefficients(BesselBasis):
    """In the place of a basis: the piece that each distance falls into, and what it takes of that piece's ends."""

    def __init__(self, basis: BesselBasis, pieces: int) -> None:
        super().__init__(basis.cutoff, len(basis.orders), basis.envelope_p, basis.trainable)
        self.orders = basis.orders
        self.pieces = pieces
        knots = torch.arange(pieces + 1, dtype=torch.float64, device=basis.orders.device) / pieces
        knots[0] = LEAST_SHARE
        self.register_buffer("knots", knots, persistent=False)

    knots: Tensor

    @property
    def key(self) -> Hashable:
        return type(self), self.pieces

    def forward(self, x: Tensor) -> Tensor:
        """(E, 5) of distances x (E,) as shares of the cutoff: the piece, then factors of value, slope, value, slope."""
        place = x.clamp(max=1.0) * self.pieces
        piece = place.detach().floor().clamp(max=self.pieces - 1)
        t = place - piece
        rest = 1 - t
        factors = ((1 + 2 * t) * rest * rest, t * rest * rest, t * t * (3 - 2 * t), -t * t * rest)
        return torch.stack([piece, *factors], dim=1)

    def at_knots(self) -> Tensor:
        """The basis itself (K + 1, number of bases) float64, zero at the cutoff."""
        return super().forward(self.knots)


class TabulatedRadial(nn.Module):
    """In the place of a network on the basis: its spline through the knots (`spline_table`), `native` by a kernel."""

    slopes: Tensor

    def __init__(self, network: ScalarMLP, basis: SplineCoefficients, native: bool) -> None:
        super().__init__()
        self.weights = network.weights
        self._parts = network, basis  # in a tuple: their parameters are named elsewhere
        self._interpolate = interpolate_native if native else interpolate
        identity = spline_table(lambda x: torch.eye(len(x), dtype=x.dtype), basis.pieces)
        self.register_buffer("slopes", identity[:, 1].to(network.weights[0]), persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """(E, W) from coefficients (E, 5)."""
        return _read(self.ends(), coefficients, self._interpolate)

    def ends(self) -> Tensor:
        """(K, 4, W): value and slope at both ends of each piece."""
        network, basis = self._parts
        *matrices, last = [weight * gain for weight, gain in zip(network.weights, network.gains, strict=True)]
        hidden = basis.at_knots().to(last.dtype)
        for matrix in matrices:
            hidden = hidden @ matrix if network.activation is None else network.activation(hidden @ matrix)
        # slopes are taken before the last matrix, the widest: there is no bias, so that the order does not matter
        values, slopes = (torch.cat([hidden, self.slopes @ hidden]) @ last).chunk(2)
        return torch.stack([values[:-1], slopes[:-1], values[1:], slopes[1:]], dim=1)


class FixedRadial(nn.Module):
    """A table (K, 4, W) without the network that it came from."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)

    def forward(self, coefficients: Tensor) -> Tensor:
        """(E, W) from coefficients (E, 5)."""
        return _read(self.table, coefficients, interpolate)


def _read(ends: Tensor, coefficients: Tensor, interpolated: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    piece = coefficients[:, 0].to(torch.int64).clamp(0, len(ends) - 1)  # also of distances that are no numbers
    return interpolated(ends, coefficients[:, 1:], piece)


def tabulate(model: AtomicEnergyModel, pieces: int) -> None:
    """Give a model tables of so many pieces; its parameters stay. Raises ConfigError if it is no NequIP."""
    if not isinstance(model, NequIP):
        raise ConfigError("radial tables are for the architecture nequip")
    model.basis = SplineCoefficients(model.basis, pieces)
    for convolution in [module for module in model.modules() if isinstance(module, Convolution)]:
        native = isinstance(convolution, NativeConvolution)
        convolution.radial = TabulatedRadial(convolution.radial, model.basis, native)  # type: ignore[assignment]


def fix_tables(model: AtomicEnergyModel) -> None:
    """Make the tables of a tabulated model once for all; it is no longer to be trained, or saved."""
    for convolution in [module for module in model.modules() if isinstance(module, Convolution)]:
        if isinstance(convolution.radial, TabulatedRadial):
            convolution.radial = FixedRadial(convolution.radial.ends().detach())  # type: ignore[assignment]
