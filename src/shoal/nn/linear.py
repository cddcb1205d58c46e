"""Linear maps that mix channels within each irrep.

N atoms, T types, V embedding size, u and w input and output channels.
"""

from math import sqrt

import torch
from torch import Generator, Tensor, nn

from shoal.nn.initial import normal
from shoal.nn.irreps import Channels, Features, Irrep


class IrrepsLinear(nn.Module):
    """scale * x @ W / sqrt(fan in) for every irrep that input and output share."""

    def __init__(
        self,
        inputs: Channels,
        outputs: Channels,
        dtype: torch.dtype,
        generator: Generator,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.factors = {irrep: scale / sqrt(inputs[irrep]) for irrep in outputs if irrep in inputs}
        self.weight = nn.ParameterDict(
            {str(ir): nn.Parameter(normal((inputs[ir], outputs[ir]), dtype, generator)) for ir in self.factors}
        )

    def forward(self, features: Features) -> Features:
        """Features with the output's channels, one matrix product per irrep."""
        return {ir: features[ir] @ (self.weight[str(ir)] * factor) for ir, factor in self.factors.items()}


class SelfConnection(nn.Module):
    """Linear map conditioned on the atom's type: x_u a_v W_uvw / sqrt(n_u n_v), a the type embedding.

    With no more types than embedding features the product a W is formed once per type and atoms pick theirs by
    a one-hot vector; otherwise the embedding itself takes the place of the one-hot vector.
    """

    types: Tensor

    def __init__(
        self,
        inputs: Channels,
        outputs: Channels,
        n_types: int,
        embedding_size: int,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.n_types, self.fold = n_types, n_types <= embedding_size
        self.register_buffer("types", torch.arange(n_types), persistent=False)  # so that a trace names no device
        self.factors = {ir: 1 / sqrt(inputs[ir] * embedding_size) for ir in outputs if ir in inputs}
        self.weight = nn.ParameterDict(
            {
                str(ir): nn.Parameter(normal((inputs[ir], embedding_size, outputs[ir]), dtype, generator))
                for ir in self.factors
            }
        )

    def forward(self, features: Features, embedding: Tensor, atom_types: Tensor) -> Features:
        """Features of N atoms from theirs, the embedding (T, V) and their types (N,)."""
        selector = (atom_types[:, None] == self.types).to(embedding.dtype) if self.fold else embedding[atom_types]
        return {ir: self._mix(features[ir], self._matrices(ir, embedding), selector) for ir in self.factors}

    def _matrices(self, irrep: Irrep, embedding: Tensor) -> Tensor:
        """(u, t, w): one matrix per type, or per embedding feature when not folded."""
        weight = self.weight[str(irrep)] * self.factors[irrep]
        return torch.einsum("tv,uvw->utw", embedding, weight) if self.fold else weight

    def _mix(self, x: Tensor, matrices: Tensor, selector: Tensor) -> Tensor:
        if self.n_types > 1:
            x = (x[..., None] * selector[:, None, None, :]).flatten(2)  # (N, 2l+1, u t)
        return x @ matrices.flatten(0, 1)
