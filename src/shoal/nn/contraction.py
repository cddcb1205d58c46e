"""Tensor product of an edge's features with those of its centre's surroundings, channel by channel.

N atoms, E edges, C channels, P paths; d components of all irreps side by side. Tensor features of Allegro are
(E, d, C): every irrep has the same channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from math import sqrt

import torch
from torch import Generator, Tensor, nn

from shoal.nn.initial import uniform
from shoal.nn.irreps import Irrep, harmonic
from shoal.nn.segments import gather
from shoal.nn.wigner import wigner_3j


Coupling = tuple[Irrep, Irrep, Irrep]


def coupling_paths(inputs: Sequence[Irrep], l_max: int, outputs: Sequence[Irrep]) -> list[Coupling]:
    """Input, harmonic, output of all paths, by output first."""
    return [
        (source, harmonic(l), target)
        for target in outputs
        for source in inputs
        for l in range(l_max + 1)
        if target in source.times(harmonic(l))
    ]


class Contraction(nn.Module, ABC):
    """out_k = sum over paths of weight_path sqrt(2 l_k + 1) w3j_ijk x_i y_j, the same for all edges.

    A path couples an irrep of x with the degree l of y into an irrep of the output; it has one weight per channel if
    `coupled`, one for all channels otherwise (Musaelian et al., arXiv:2204.05249, eq. 13).
    """

    def __init__(
        self,
        inputs: Sequence[Irrep],
        l_max: int,
        outputs: Sequence[Irrep],
        channels: int,
        coupled: bool,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.degrees = tuple(harmonic(l) for l in range(l_max + 1))
        self.paths = coupling_paths(inputs, l_max, outputs)
        self.weight = nn.Parameter(uniform((len(self.paths), channels if coupled else 1), dtype, generator))

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
        """(E, d_out, C) from features x (E, d_in, C), surroundings y (N, (l_max + 1)^2, C) and centres (E,)."""

    def nonzeros(self) -> tuple[Tensor, Tensor]:
        """Rows (path, i, j, k) of the nonzero couplings, int64, and their values, float64; no two share i, j, k."""
        starts = [
            dict(zip(irreps, accumulate((irrep.dim for irrep in irreps), initial=0), strict=False))
            for irreps in (self.inputs, self.degrees, self.outputs)
        ]
        places, values = [], []
        for n, path in enumerate(self.paths):
            w3j = wigner_3j(*(irrep.l for irrep in path))
            inside = w3j.abs() > 1e-12
            offset = torch.tensor([start[irrep] for start, irrep in zip(starts, path, strict=True)])
            place = inside.nonzero() + offset
            places.append(torch.cat([torch.full_like(place[:, :1], n), place], dim=1))
            values.append(sqrt(path[2].dim) * w3j[inside])
        return torch.cat(places), torch.cat(values)


class ReferenceContraction(Contraction):
    """One matrix product per channel on all products x_i y_j: few kernels, twice differentiable, the oracle."""

    path: Tensor
    place: Tensor
    value: Tensor

    def __init__(
        self,
        inputs: Sequence[Irrep],
        l_max: int,
        outputs: Sequence[Irrep],
        channels: int,
        coupled: bool,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__(inputs, l_max, outputs, channels, coupled, dtype, generator)
        self.sizes = [sum(irrep.dim for irrep in irreps) for irreps in (self.inputs, self.degrees, self.outputs)]
        (path, i, j, k), values = self.nonzeros()[0].T, self.nonzeros()[1]
        self.register_buffer("path", path, persistent=False)
        self.register_buffer("place", (i * self.sizes[1] + j) * self.sizes[2] + k, persistent=False)
        self.register_buffer("value", values.to(dtype)[:, None], persistent=False)

    def forward(self, x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
        products = (x[:, :, None] * gather(y, centre)[:, None]).flatten(1, 2)  # (E, ij, C)
        if self.weight.shape[1] == 1:
            return self._coupling()[:, :, 0].T @ products
        return torch.bmm(products.permute(2, 0, 1), self._coupling().permute(2, 0, 1)).permute(1, 2, 0)

    def _coupling(self) -> Tensor:
        """(d_in d_y, d_out, C or 1): weights times the couplings."""
        d_in, d_y, d_out = self.sizes
        values = self.value * self.weight[self.path]
        empty = values.new_zeros((d_in * d_y * d_out, values.shape[1]))
        return empty.index_copy(0, self.place, values).unflatten(0, (d_in * d_y, d_out))


class UnrolledContraction(Contraction):
    """Every nonzero coupling written out, for compilers that fuse it; eager, the reference is faster."""

    def __init__(
        self,
        inputs: Sequence[Irrep],
        l_max: int,
        outputs: Sequence[Irrep],
        channels: int,
        coupled: bool,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__(inputs, l_max, outputs, channels, coupled, dtype, generator)
        places, values = self.nonzeros()
        self.terms: dict[int, list[tuple[int, int, int, float]]] = {}
        for (path, i, j, k), value in zip(places.tolist(), values.tolist(), strict=True):
            self.terms.setdefault(k, []).append((path, i, j, value))

    def forward(self, x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
        xs, ys, weights = x.unbind(1), gather(y, centre).unbind(1), self.weight.unbind(0)
        return torch.stack([self._sum(self.terms[k], xs, ys, weights) for k in sorted(self.terms)], dim=1)

    @staticmethod
    def _sum(
        terms: list[tuple[int, int, int, float]],
        xs: Sequence[Tensor],
        ys: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> Tensor:
        by_path: dict[int, Tensor] = {}
        for path, i, j, value in terms:
            term = value * xs[i] * ys[j]
            by_path[path] = by_path[path] + term if path in by_path else term
        first, *others = (weights[path] * total for path, total in by_path.items())
        return sum(others, start=first)


CONTRACTIONS: dict[str, type[Contraction]] = {"reference": ReferenceContraction, "inductor": UnrolledContraction}
"""By the names of `shoal.nn.convolution`."""
