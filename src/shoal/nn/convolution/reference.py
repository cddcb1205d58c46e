"""The convolution in plain torch: exact, differentiable twice, the oracle of every other member."""

from math import sqrt

import torch
from torch import Tensor

from ..harmonics import degree
from ..irreps import Features, Irrep, Path
from ..segments import gather, segment_sum
from ..wigner import wigner_3j
from .base import Convolution, Edges


class ReferenceConvolution(Convolution):
    """Messages are formed edge by edge and summed by centre."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        dtype = self.radial.weights[0].dtype
        for name, path in {_name(path): path for path in self.paths}.items():
            self.register_buffer(name, _coupling(path).to(dtype), persistent=False)

    def forward(self, features: Features, edges: Edges) -> Features:
        weights = self.radial(edges.radial).split([path.channels for path in self.paths], dim=1)
        gathered = {irrep: gather(x, edges.source) for irrep, x in features.items()}
        messages: dict[Irrep, list[Tensor]] = {target: [] for target in self.outputs}
        for path, weight in zip(self.paths, weights, strict=True):
            coupled = self._couple(path, gathered[path.source], degree(edges.harmonics, path.l))
            messages[path.target].append(weight[:, None, :] * coupled)
        return {target: self._sum(torch.cat(slots, dim=2), edges) for target, slots in messages.items()}

    def _couple(self, path: Path, x: Tensor, harmonics: Tensor) -> Tensor:
        """(E, 2l+1, C) of the target from (E, 2l+1, C) of the source."""
        if path.source.l == 0:
            return harmonics[:, :, None] * x
        if path.l == 0:
            return x
        matrix = torch.einsum("abc,eb->eca", getattr(self, _name(path)), harmonics)
        return torch.bmm(matrix, x)

    @staticmethod
    def _sum(messages: Tensor, edges: Edges) -> Tensor:
        return segment_sum(messages, edges.centre, edges.n_centres)


def _name(path: Path) -> str:
    return f"w3j_{path.source.l}_{path.l}_{path.target.l}"


def _coupling(path: Path) -> Tensor:
    """w3j with the norm that keeps components at unit variance."""
    return sqrt(path.target.dim) * wigner_3j(path.source.l, path.l, path.target.l)
