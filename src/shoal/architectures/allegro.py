"""Allegro: strictly local equivariance (Musaelian et al., Nat. Commun. 14, 579 (2023), arXiv:2204.05249).

N atoms, E edges, T types, C channels.
"""

from itertools import pairwise
from math import sqrt
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Generator, Tensor, nn

from shoal.architectures.base import ArchitectureConfig, AtomicEnergyModel, Nonlinearity
from shoal.architectures.geometry import EdgeGeometry
from shoal.nn import CONVOLUTIONS, SCALAR, BesselBasis, Irrep, ScalarMLP
from shoal.nn.contraction import Contraction
from shoal.nn.harmonics import L_MAX, degree
from shoal.nn.irreps import harmonic
from shoal.nn.segments import segment_sum
from shoal.nn.two_body import BesselEmbedding, SplineEmbedding


class BesselConfig(BaseModel):
    """Edge lengths in Bessel functions, times features of the two types."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    basis: Literal["bessel"] = "bessel"
    num_bessels: int = Field(8, ge=1, description="number of radial basis functions")
    bessel_trainable: bool = Field(False, description="train the orders of the Bessel functions")
    polynomial_cutoff_p: int = Field(6, ge=2, description="exponent of the polynomial envelope")


class SplineConfig(BaseModel):
    """Edge lengths in splines, with coefficients of their own for each ordered pair of types."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    basis: Literal["spline"]
    num_splines: int = Field(16, ge=1, description="number of splines")
    spline_span: int = Field(12, ge=1, description="number of splines that overlap at a point of the grid")

    @model_validator(mode="after")
    def _span_within(self) -> Self:
        if self.spline_span > self.num_splines:
            raise ValueError(f"spline_span {self.spline_span} is larger than num_splines {self.num_splines}")
        return self


class AllegroConfig(ArchitectureConfig):
    """Everything that fixes an Allegro model except its trained numbers.

    `mean_neighbors` per type is that of the centre.
    """

    l_max: int = Field(1, ge=0, le=L_MAX, description="highest degree of features and spherical harmonics")
    parity: bool = Field(True, description="carry features of both parities, not only (-1)^l")
    num_layers: int = Field(2, ge=1, description="number of Allegro layers")
    num_scalar_features: int = Field(64, ge=1, description="scalar features of an edge")
    num_tensor_features: int = Field(16, ge=1, description="channels of each irrep of an edge")
    path_channel_coupling: bool = Field(True, description="a weight per path and channel, not only per path")
    weight_individual_irreps: bool = Field(
        True, description="weigh each degree of a neighbour's harmonics by itself where surroundings are summed"
    )
    radial_embedding: Annotated[BesselConfig | SplineConfig, Field(discriminator="basis")] = Field(
        BesselConfig(), description="two-body embedding of lengths and types"
    )
    radial_embedding_size: int | None = Field(
        None, ge=1, description="length of that embedding; by default the number of scalar features"
    )
    scalar_embed_mlp_depth: int = Field(1, ge=0, description="hidden layers of the network behind the embedding")
    scalar_embed_mlp_width: int = Field(64, ge=1, description="width of those layers")
    scalar_embed_mlp_nonlinearity: Nonlinearity = Field("silu", description="between those layers; none: linear")
    allegro_mlp_depth: int = Field(1, ge=0, description="hidden layers of the network in each Allegro layer")
    allegro_mlp_width: int = Field(64, ge=1, description="width of those layers")
    allegro_mlp_nonlinearity: Nonlinearity = Field("silu", description="between those layers; none: linear")
    readout_mlp_depth: int = Field(1, ge=0, description="hidden layers between the scalar features and the energy")
    readout_mlp_width: int = Field(32, ge=1, description="width of those layers")
    readout_mlp_nonlinearity: Nonlinearity = Field("silu", description="between those layers; none: linear")

    @model_validator(mode="after")
    def _halves_for_two_types(self) -> Self:
        if isinstance(self.radial_embedding, BesselConfig) and self.embedding_size % 2:
            raise ValueError(
                f"the Bessel embedding has {self.embedding_size} features; it must be even, half for each atom's type: "
                "set radial_embedding_size or num_scalar_features"
            )
        return self

    @property
    def embedding_size(self) -> int:
        return self.radial_embedding_size or self.num_scalar_features

    @property
    def surroundings_weights(self) -> int:
        """Number of weights per edge and channel in the sum over neighbours."""
        return self.l_max + 1 if self.weight_individual_irreps else 1


def layer_irreps(config: AllegroConfig) -> list[list[Irrep]]:
    """Irreps of the tensor features before the first layer and after each: reached, and able to reach an energy."""
    natural = [harmonic(l) for l in range(config.l_max + 1)]
    allowed = [Irrep(l, p) for l in range(config.l_max + 1) for p in (1, -1)] if config.parity else natural
    layers = [natural]
    for n in range(config.num_layers):
        wanted = allowed if n < config.num_layers - 1 else [SCALAR]
        layers.append([irrep for irrep in wanted if _coupled(irrep, layers[-1], natural)])
    for before, after in zip(layers[-2::-1], layers[:0:-1], strict=True):
        before[:] = [irrep for irrep in before if _coupled(irrep, after, natural)]
    return layers


def _coupled(irrep: Irrep, others: list[Irrep], natural: list[Irrep]) -> bool:
    """Whether the irrep times some harmonic holds one of the others (a symmetric relation)."""
    return any(other in irrep.times(degree) for other in others for degree in natural)


class Allegro(AtomicEnergyModel):
    """Atomic energies as sums of edge energies; an edge sees the other edges of its centre, nothing else.

    It has no convolution: the same code serves every member of `shoal.nn.convolution`.
    """

    config: AllegroConfig
    neighbor_norm: Tensor

    def __init__(self, config: AllegroConfig, convolution: str = "reference") -> None:
        super().__init__(config)
        assert convolution in CONVOLUTIONS, convolution
        generator = Generator().manual_seed(config.seed)
        dtype, size, channels = config.dtype, config.num_scalar_features, config.num_tensor_features
        weights = config.surroundings_weights * channels
        norms = [1 / sqrt(count) for count in config.neighbors_by_type]
        self.register_buffer("neighbor_norm", torch.tensor(norms, dtype=dtype), persistent=False)
        self.embedding = _embedding(config, generator)
        sizes = [config.embedding_size, *[config.scalar_embed_mlp_width] * config.scalar_embed_mlp_depth, size]
        self.scalar_embed = ScalarMLP(sizes, dtype, generator, config.scalar_embed_mlp_nonlinearity)
        self.tensor_embed = ScalarMLP([size, (config.l_max + 1) * channels], dtype, generator)
        self.projection = ScalarMLP([size, size + weights], dtype, generator)
        self.layers = nn.ModuleList()
        for n, (before, after) in enumerate(pairwise(layer_irreps(config))):
            contraction = Contraction(
                before, config.l_max, after, channels, config.path_channel_coupling, dtype, generator
            )
            outputs = size + (weights if n < config.num_layers - 1 else 0)
            sizes = [(n + 1) * size + channels, *[config.allegro_mlp_width] * config.allegro_mlp_depth, outputs]
            latent = ScalarMLP(sizes, dtype, generator, config.allegro_mlp_nonlinearity)
            self.layers.append(AllegroLayer(contraction, latent))
        sizes = [(config.num_layers + 1) * size, *[config.readout_mlp_width] * config.readout_mlp_depth, 1]
        self.readout = ScalarMLP(sizes, dtype, generator, config.readout_mlp_nonlinearity)

    @property
    def interaction_range(self) -> float:
        return self.config.reach

    @property
    def hops(self) -> int:
        return 1

    def network(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        edge_energies = self.readout(self._edge_features(geometry, edge_index, atom_types))[:, 0]
        return self._of_atoms(edge_energies, edge_index, atom_types)

    def features(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        edge_features = self._edge_features(geometry, edge_index, atom_types)
        return self._of_atoms(edge_features, edge_index, atom_types)

    def _of_atoms(self, values: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """(N, ...): values of edges (E, ...) summed by centre."""
        # an edge's energy moves two atoms: unit variance of forces needs the 1 / sqrt 2
        norm = self.neighbor_norm[atom_types] / sqrt(2)
        return segment_sum(values, edge_index[0], atom_types.shape[0]) * (norm if values.dim() == 1 else norm[:, None])

    def _edge_features(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Invariants (E, F) of the last layer."""
        config, centre = self.config, edge_index[0]
        norm = self.neighbor_norm[atom_types]
        harmonics = geometry.harmonics(config.l_max)
        embedded = self.scalar_embed(self.embedding(geometry.x, edge_index, atom_types))
        tensors = self._weighed(harmonics, self.tensor_embed(embedded), config.l_max + 1)
        scalars: list[Tensor] = []
        latents = self.projection(embedded)
        for layer in self.layers:
            new, weights = latents.tensor_split([config.num_scalar_features], dim=1)
            scalars.append(new)
            summands = self._weighed(harmonics, weights, config.surroundings_weights)
            surroundings = segment_sum(summands, centre, atom_types.shape[0]) * norm[:, None, None]
            tensors, latents = layer(tensors, surroundings, scalars, centre)
        return torch.cat([*scalars, latents], dim=1)

    def _weighed(self, harmonics: Tensor, weights: Tensor, n_weights: int) -> Tensor:
        """(E, (l_max + 1)^2, C): harmonics times their channels' weights, one per degree or one for all of them."""
        by_degree = weights.unflatten(1, (n_weights, self.config.num_tensor_features))
        if n_weights == 1:
            return harmonics[:, :, None] * by_degree
        parts = [degree(harmonics, l)[:, :, None] * by_degree[:, l, None] for l in range(n_weights)]
        return torch.cat(parts, dim=1)


class AllegroLayer(nn.Module):
    """Couple the tensor features of edges with their surroundings; learn from the scalars that come out."""

    def __init__(self, contraction: Contraction, latent: ScalarMLP) -> None:
        super().__init__()
        self.contraction, self.latent = contraction, latent

    def forward(
        self, tensors: Tensor, surroundings: Tensor, scalars: list[Tensor], centre: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tensor features (E, d, C) after the layer, and its latent features (E, ...)."""
        tensors = self.contraction(tensors, surroundings, centre)
        return tensors, self.latent(torch.cat([*scalars, tensors[:, 0]], dim=1))


def _embedding(config: AllegroConfig, generator: Generator) -> BesselEmbedding | SplineEmbedding:
    n_types, size, chosen = len(config.type_names), config.embedding_size, config.radial_embedding
    if isinstance(chosen, SplineConfig):
        return SplineEmbedding(n_types, size, chosen.num_splines, chosen.spline_span, config.dtype, generator)
    basis = BesselBasis(config.cutoff, chosen.num_bessels, chosen.polynomial_cutoff_p, chosen.bessel_trainable)
    return BesselEmbedding(n_types, size, basis, config.dtype, generator)
