"""Linear maps that mix channels within each irrep.

N atoms, T types, V embedding size, C channels.
"""

from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import one_hot

from .initial import normal
from .irreps import Channels, Features, Irrep


class IrrepsLinear(nn.Module):
    """x @ W / sqrt(fan in) for every irrep that input and output share."""

    def __init__(
        self,
        inputs: Channels,
        outputs: Channels,
        dtype: torch.dtype,
        generator: Generator,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.irreps = [irrep for irrep in outputs if irrep in inputs]
        self.scale = {irrep: scale / sqrt(inputs[irrep]) for irrep in self.irreps}
        self.weight = nn.ParameterDict(
            {str(ir): nn.Parameter(normal((inputs[ir], outputs[ir]), dtype, generator)) for ir in self.irreps}
        )

    def forward(self, features: Features) -> Features:
        return {ir: features[ir] @ (self.weight[str(ir)] * self.scale[ir]) for ir in self.irreps}


class SelfConnection(nn.Module):
    """Linear map whose weights depend on the atom's type through the type embedding.

    x_u a_v W_uvw / sqrt(n_u n_v). The product with the embedding is folded into one matrix per type when there
    are fewer types than embedding features; otherwise the embedding itself is the list of coefficients.
    """

    def __init__(
        self,
        inputs: Channels,
        outputs: Channels,
        embedding_size: int,
        dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.irreps = [irrep for irrep in outputs if irrep in inputs]
        self.scale = {irrep: 1 / sqrt(inputs[irrep] * embedding_size) for irrep in self.irreps}
        self.weight = nn.ParameterDict(
            {
                str(ir): nn.Parameter(normal((inputs[ir], embedding_size, outputs[ir]), dtype, generator))
                for ir in self.irreps
            }
        )

    def forward(self, features: Features, embedding: Tensor, atom_types: Tensor) -> Features:
        """Features of N atoms, from theirs, the embedding (T, V) and their types (N,)."""
        n_types, size = embedding.shape
        folded = n_types <= size
        coefficients = one_hot(atom_types, n_types).to(embedding.dtype) if folded else embedding[atom_types]
        return {ir: self._mix(ir, features[ir], embedding if folded else None, coefficients) for ir in self.irreps}

    def _mix(self, irrep: Irrep, x: Tensor, embedding: Tensor | None, coefficients: Tensor) -> Tensor:
        weight = self.weight[str(irrep)] * self.scale[irrep]  # (u, v, w)
        if embedding is not None:
            weight = torch.einsum("tv,uvw->utw", embedding, weight)
        n_inputs, n_coefficients, n_outputs = weight.shape
        if n_coefficients == 1 and embedding is not None:
            return x @ weight[:, 0]
        spread = x[..., None] * coefficients[:, None, None, :]  # (N, 2l+1, u, t)
        return spread.flatten(2) @ weight.reshape(n_inputs * n_coefficients, n_outputs)
