"""Scalar embeddings of an edge: its length and the types of its two atoms, before any neighbour is seen.

E edges, N atoms, T types, K bases, C channels. Both end in exact zeros from the cutoff on.
"""

from math import pi, sqrt

import torch
from torch import Generator, Tensor, nn

from shoal.nn.initial import normal, uniform
from shoal.nn.radial import BesselBasis, ScalarMLP
from shoal.nn.segments import gather


class BesselEmbedding(nn.Module):
    """A linear map of the radial basis times features of the centre's type (first half) and the neighbour's."""

    def __init__(
        self,
        n_types: int,
        channels: int,
        basis: BesselBasis,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        """`channels` is even."""
        super().__init__()
        self.basis = basis
        # the basis in shares of the cutoff: sin(n pi x) / (pi x)
        self.factor = basis.cutoff**2 / (2 * pi)
        self.linear = ScalarMLP([len(basis.orders), channels], dtype, generator)
        self.centre = nn.Parameter(normal((n_types, channels // 2), dtype, generator))
        self.neighbor = nn.Parameter(normal((n_types, channels // 2), dtype, generator))

    def forward(self, x: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """(E, C) in the model's precision from distances x (E,) float64 as shares of the cutoff."""
        radial = self.linear((self.factor * self.basis(x)).to(self.centre.dtype))
        types = [
            gather(table[atom_types], atoms)
            for table, atoms in zip((self.centre, self.neighbor), edge_index.unbind(), strict=True)
        ]
        return torch.cat(types, dim=1) * radial


class SplineEmbedding(nn.Module):
    """For each ordered pair of types its own combination of bumps sin^4, spread evenly over the cutoff.

    A bump is `span` + 1 intervals wide; the last ends at the cutoff, where it vanishes as (1 - x)^4. Coefficients are
    float64 in every model: their sum is rounded once.
    """

    ends: Tensor

    def __init__(
        self, n_types: int, channels: int, num_splines: int, span: int, dtype: torch.dtype, generator: Generator
    ) -> None:
        super().__init__()
        self.n_types, self.dtype = n_types, dtype
        self.width = (span + 1) / num_splines
        ends = torch.arange(1, num_splines + 1, dtype=torch.float64) / num_splines
        self.register_buffer("ends", ends, persistent=False)
        # about `span` bumps overlap at any distance
        values = uniform((n_types * n_types, num_splines, channels), torch.float64, generator)
        self.coefficients = nn.Parameter(values / sqrt(max(span, 1)))

    def forward(self, x: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """(E, C) in the model's precision from distances x (E,) float64 as shares of the cutoff."""
        bumps = torch.sin(pi * ((self.ends - x[:, None]) / self.width).clamp(0, 1)) ** 4
        if self.n_types == 1:
            return (bumps @ self.coefficients[0]).to(self.dtype)
        pairs = atom_types[edge_index[0]] * self.n_types + atom_types[edge_index[1]]
        return torch.bmm(bumps[:, None], gather(self.coefficients, pairs))[:, 0].to(self.dtype)
