"""The kernel seam: what every implementation of the convolution takes and gives.

N atoms, E edges, C channels, K bases.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from shoal.nn.irreps import Channels, Features, Path, couplings
from shoal.nn.radial import ScalarMLP


class Edges(NamedTuple):
    """Directed edges: `centre` receives from `source`; zero rows in `radial` add exactly nothing."""

    centre: Tensor  # (E,) int64, row of the output
    source: Tensor  # (E,) int64, row of the input features
    radial: Tensor  # (E, K) radial basis
    harmonics: Tensor  # (E, (l_max + 1)^2)
    n_centres: int  # rows of the output


class Convolution(nn.Module, ABC):
    """Sum over neighbours of R_path(r) sqrt(2l+1) w3j x_source Y(direction), one output slot per path.

    Slots of the same irrep lie side by side in the channel dimension, in the order of `paths`
    (Batzner et al., arXiv:2101.03164, eq. 3).
    """

    def __init__(
        self,
        inputs: Channels,
        targets: Channels,
        l_max: int,
        radial_sizes: list[int],
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.l_max = l_max
        self.paths: list[Path] = couplings(inputs, l_max, targets)
        self.outputs: Channels = {
            target: sum(path.channels for path in self.paths if path.target == target) for target in targets
        }
        sizes = [*radial_sizes, sum(path.channels for path in self.paths)]
        self.radial = ScalarMLP(sizes, dtype, generator)
        self._prepare(inputs, dtype)

    def _prepare(self, inputs: Channels, dtype: torch.dtype) -> None:
        """Make what an implementation keeps besides the parameters."""

    @abstractmethod
    def forward(self, features: Features, edges: Edges) -> Features:
        """Features (n_centres, 2l+1, C) with channels `outputs`."""
