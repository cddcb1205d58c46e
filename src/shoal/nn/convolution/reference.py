"""The convolution in plain torch: exact, twice differentiable, the oracle of every other member."""

from math import sqrt

import torch
from torch import Tensor

from shoal.nn.convolution.base import Convolution, Edges
from shoal.nn.harmonics import degree
from shoal.nn.irreps import Channels, Features, Irrep, Path
from shoal.nn.segments import gather, segment_sum
from shoal.nn.wigner import wigner_3j


class ReferenceConvolution(Convolution):
    """Messages are formed edge by edge, path by path, and summed by centre."""

    def _prepare(self, inputs: Channels, dtype: torch.dtype) -> None:
        for name, path in {_buffer(path): path for path in self.paths}.items():
            self.register_buffer(name, _coupling(path).to(dtype), persistent=False)

    def forward(self, features: Features, edges: Edges) -> Features:
        weights = self.radial(edges.radial).split([path.channels for path in self.paths], dim=1)
        gathered = {irrep: gather(x, edges.source) for irrep, x in features.items()}
        slots: dict[Irrep, list[Tensor]] = {target: [] for target in self.outputs}
        for path, weight in zip(self.paths, weights, strict=True):
            coupled = self._couple(path, gathered[path.source], degree(edges.harmonics, path.l))
            slots[path.target].append(segment_sum(weight[:, None, :] * coupled, edges.centre, edges.n_centres))
        return {target: torch.cat(sums, dim=2) for target, sums in slots.items()}

    def _couple(self, path: Path, x: Tensor, harmonics: Tensor) -> Tensor:
        """(E, 2l+1, C) of the target from (E, 2l+1, C) of the source and the harmonics of one degree."""
        if path.source.l == 0:
            return harmonics[:, :, None] * x
        if path.l == 0:
            return x
        return self._contract(self._matrices(path, harmonics), x)

    def _matrices(self, path: Path, harmonics: Tensor) -> Tensor:
        """(E, 2 l_target + 1, 2 l_source + 1): the harmonics contracted with the coupling."""
        matrices = harmonics @ self.get_buffer(_buffer(path))
        return matrices.unflatten(1, (path.target.dim, path.source.dim))

    def _contract(self, matrices: Tensor, x: Tensor) -> Tensor:
        return torch.bmm(matrices, x)


def _buffer(path: Path) -> str:
    return f"w3j_{path.source.l}{path.l}{path.target.l}"


def _coupling(path: Path) -> Tensor:
    """(2 l + 1, (2 l_target + 1)(2 l_source + 1)), with the norm that keeps components at unit variance."""
    w3j = wigner_3j(path.source.l, path.l, path.target.l)
    return sqrt(path.target.dim) * w3j.permute(1, 2, 0).flatten(1)
