"""Tensor product of an edge's features with those of its centre's surroundings, channel by channel.

N atoms, E edges, C channels, P paths; d components of all irreps side by side. Tensor features of Allegro are
(E, d, C): every irrep has the same channels.
"""

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


class Contraction(nn.Module):
    """out_k = sum over paths of weight_path sqrt(2 l_k + 1) w3j_ijk x_i y_j.

    A path couples an irrep of x with the degree l of y into an irrep of the output; it has one weight per channel if
    `coupled`, one for all channels otherwise (Musaelian et al., arXiv:2204.05249, eq. 13). What does not depend on
    the edge is summed first, atom by atom: an edge then costs d_in d_out products per channel, however many paths.
    """

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
        super().__init__()
        paths = coupling_paths(inputs, l_max, outputs)
        self.weight = nn.Parameter(uniform((len(paths), channels if coupled else 1), dtype, generator))
        irreps = (inputs, [harmonic(l) for l in range(l_max + 1)], outputs)
        d_in, d_y, d_out = (sum(irrep.dim for irrep in each) for each in irreps)
        self.shape = (d_out, d_in, d_y)
        place, value = _nonzeros(paths, irreps)
        path, i, j, k = place.unbind(1)
        self.register_buffer("path", path, persistent=False)
        self.register_buffer("place", (k * d_in + i) * d_y + j, persistent=False)
        self.register_buffer("value", value.to(dtype)[:, None], persistent=False)

    def forward(self, x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
        """(E, d_out, C) from features x (E, d_in, C), surroundings y (N, (l_max + 1)^2, C) and centres (E,)."""
        values = self.value * self.weight[self.path]
        empty = values.new_zeros((self.shape[0] * self.shape[1] * self.shape[2], values.shape[1]))
        coupling = empty.index_copy(0, self.place, values).unflatten(0, self.shape)
        # sums of products, not matrix products: a compiler fuses them with the gather
        rows = [(each * y[:, None]).sum(2) for each in coupling.unbind()]
        return torch.stack([(gather(row, centre) * x).sum(1) for row in rows], dim=1)


def _nonzeros(paths: Sequence[Coupling], irreps: tuple[Sequence[Irrep], ...]) -> tuple[Tensor, Tensor]:
    """Rows (path, i, j, k) of the nonzero couplings, int64, and their values, float64; no two share i, j, k."""
    starts = [dict(zip(each, accumulate((irrep.dim for irrep in each), initial=0), strict=False)) for each in irreps]
    places, values = [], []
    for n, path in enumerate(paths):
        w3j = wigner_3j(*(irrep.l for irrep in path))
        inside = w3j.abs() > 1e-12
        offset = torch.tensor([start[irrep] for start, irrep in zip(starts, path, strict=True)])
        place = inside.nonzero() + offset
        places.append(torch.cat([torch.full_like(place[:, :1], n), place], dim=1))
        values.append(sqrt(path[2].dim) * w3j[inside])
    return torch.cat(places), torch.cat(values)
