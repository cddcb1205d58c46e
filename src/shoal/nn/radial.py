"""Radial basis, and the network on invariants that makes weights of it, embeddings and energies.

E edges, K bases. Distances enter in float64; the basis is formed there and rounded once to the model dtype.
"""

from collections.abc import Callable, Hashable
from itertools import pairwise
from math import pi, sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import gelu, mish, silu

from shoal.nn.initial import uniform


def polynomial_envelope(x: Tensor, p: int) -> Tensor:
    """1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2) for x < 1, zero beyond.

    Value, slope and curvature vanish at 1 (Gasteiger, Gross, Guennemann, arXiv:2003.03123, eq. 8). Written as
    (1 - x)^3 sum_k (k+1)(k+2)/2 x^k, k < p: no cancellation near the cutoff, exactly zero past it.
    """
    series = torch.full_like(x, p * (p + 1) / 2)
    for k in range(p - 2, -1, -1):
        series = series * x + (k + 1) * (k + 2) / 2
    inside = torch.relu(1 - x)
    return inside * inside * inside * series


class BesselBasis(nn.Module):
    """(2 / r_c) sin(n pi r / r_c) / r, n = 1..K, times the envelope (arXiv:2003.03123, eq. 7)."""

    def __init__(self, cutoff: float, num_bessels: int, envelope_p: int, trainable: bool) -> None:
        super().__init__()
        self.cutoff, self.envelope_p, self.trainable = cutoff, envelope_p, trainable
        orders = torch.arange(1, num_bessels + 1, dtype=torch.float64)
        if trainable:
            self.orders = nn.Parameter(orders)
        else:
            self.register_buffer("orders", orders)

    @property
    def key(self) -> Hashable:
        """Equal where bases without trained orders give the same."""
        return self.cutoff, len(self.orders), self.envelope_p

    def forward(self, x: Tensor) -> Tensor:
        """Basis values (E, K) float64 of distances x (E,) float64 as shares of the cutoff."""
        x = x[:, None]
        scale = 2 / self.cutoff**2 * polynomial_envelope(x, self.envelope_p) / x
        return scale * torch.sin(x * (pi * self.orders))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": silu, "mish": mish, "gelu": gelu}


class ScalarMLP(nn.Module):
    """Perceptron without biases on invariants, a nonlinearity between its layers (None: a product of matrices).

    Weights have unit variance; each layer carries gain / sqrt(fan in), gain sqrt(2) after a nonlinearity.
    """

    def __init__(
        self, sizes: list[int], dtype: torch.dtype, generator: Generator, nonlinearity: str | None = "silu"
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(uniform((fan_in, fan_out), dtype, generator)) for fan_in, fan_out in pairwise(sizes)
        )
        self.activation = None if nonlinearity is None else ACTIVATIONS[nonlinearity]
        gain = 1 if nonlinearity is None else sqrt(2)
        self.gains = [(1 if n == 0 else gain) / sqrt(fan_in) for n, fan_in in enumerate(sizes[:-1])]

    def forward(self, x: Tensor) -> Tensor:
        """(..., sizes[0]) to (..., sizes[-1])."""
        for n, (weight, gain) in enumerate(zip(self.weights, self.gains, strict=True)):
            x = (x if n == 0 or self.activation is None else self.activation(x)) @ (weight * gain)
        return x
