"""NequIP: E(3)-equivariant message passing (Batzner et al., Nat. Commun. 13, 2453 (2022), arXiv:2101.03164).

N atoms, E edges, T types, C channels, K bases.
"""

from itertools import pairwise
from math import sqrt
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from shoal.architectures.base import ArchitectureConfig, AtomicEnergyModel, Nonlinearity
from shoal.architectures.geometry import EdgeGeometry
from shoal.nn import (
    CONVOLUTIONS,
    NONLINEARITIES,
    SCALAR,
    BesselBasis,
    Channels,
    Convolution,
    Edges,
    Features,
    Irrep,
    IrrepsLinear,
    ScalarMLP,
    SelfConnection,
    couplings,
    reachable,
)
from shoal.nn.harmonics import L_MAX
from shoal.nn.initial import normal

PRESETS: dict[str, dict[str, Any]] = {
    name: {"parity": False, "type_embedding_size": 32, "radial_mlp_depth": 1, "radial_mlp_width": 128, **sizes}
    for name, sizes in {
        "S": {"num_layers": 2, "l_max": 1, "num_features": (128, 64)},
        "M": {"num_layers": 4, "l_max": 2, "num_features": (128, 64, 32)},
        "L": {"num_layers": 6, "l_max": 3, "num_features": (128, 64, 32, 32)},
        "XL": {"num_layers": 6, "l_max": 4, "num_features": (320, 96, 64, 32, 32)},
    }.items()
}


class NequIPConfig(ArchitectureConfig):
    """Everything that fixes a NequIP model except its trained numbers."""

    preset: Literal["S", "M", "L", "XL"] | None = Field(
        None, exclude=True, description="sizes of NequIP's foundation models, for what is not given beside it"
    )
    num_layers: int = Field(4, ge=1, description="number of interaction layers")
    l_max: int = Field(1, ge=0, le=L_MAX, description="highest degree of features and spherical harmonics")
    parity: bool = Field(True, description="carry features of both parities, not only (-1)^l")
    num_features: int | tuple[int, ...] = Field(
        32, description="channels of each irrep, one number or one per degree 0..l_max"
    )
    type_embedding_size: int | None = Field(
        None, ge=1, description="length of the type embedding; by default the number of l = 0 features"
    )
    radial_mlp_depth: int = Field(1, ge=0, description="hidden layers of the radial network")
    radial_mlp_width: int = Field(128, ge=1, description="width of those layers")
    num_bessels: int = Field(8, ge=1, description="number of radial basis functions")
    bessel_trainable: bool = Field(False, description="train the orders of the Bessel functions")
    polynomial_cutoff_p: int = Field(6, ge=2, description="exponent of the polynomial envelope")
    self_connection: bool = Field(True, description="add a linear map of each atom's own features, by its type")
    nonlinearity: Literal["gate", "norm"] = Field("gate", description="what ends a layer")
    resnet: bool = Field(False, description="add a layer's input to its output wherever both hold the same irreps")
    readout_mlp_depth: int = Field(0, ge=0, description="hidden layers between the last features and the energy")
    readout_mlp_width: int | None = Field(
        None, ge=1, description="width of those layers; by default the number of l = 0 features"
    )
    readout_mlp_nonlinearity: Nonlinearity = Field(
        "silu", description="nonlinearity between those layers; none: they are linear"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_filled_in(cls, values: Any) -> Any:
        """A configuration holds what its preset stands for, so that it is whole without the name."""
        name = values.get("preset") if isinstance(values, dict) else None
        if not isinstance(name, str) or name not in PRESETS:
            return values
        return {**PRESETS[name], **values, "preset": None}

    @model_validator(mode="after")
    def _fitting_lengths(self) -> "NequIPConfig":
        if isinstance(self.num_features, tuple) and len(self.num_features) != self.l_max + 1:
            raise ValueError(
                f"num_features has {len(self.num_features)} entries for the {self.l_max + 1} degrees to l_max"
            )
        if min(self.features_by_degree) < 1:
            raise ValueError(f"num_features is {self.num_features}; every degree needs at least 1")
        return self

    @property
    def features_by_degree(self) -> tuple[int, ...]:
        given = self.num_features
        return given if isinstance(given, tuple) else (given,) * (self.l_max + 1)

    @property
    def embedding_size(self) -> int:
        return self.type_embedding_size or self.features_by_degree[0]

    @property
    def readout_sizes(self) -> list[int]:
        """Widths of the readout, from the last features to the energy."""
        features = self.features_by_degree[0]
        return [features, *[self.readout_mlp_width or features] * self.readout_mlp_depth, 1]


def layer_channels(config: NequIPConfig, prune: bool = True) -> list[Channels]:
    """Channels before the first layer and after each layer.

    A layer holds the irreps that a path reaches. With `prune`, only those among them that can still influence
    the scalars of the last layer: sources of a path into what is kept behind them, as is whatever a self-connection
    or a residual carries on, by the path of degree 0.
    """
    features = config.features_by_degree
    parities = (1, -1) if config.parity else (1,)
    hidden: Channels = {
        Irrep(l, parity * (1 if config.parity else (-1) ** l)): features[l]
        for l in range(config.l_max + 1)
        for parity in parities
    }
    layers: list[Channels] = [{SCALAR: config.embedding_size}]
    for _ in range(config.num_layers - 1):
        layers.append(reachable(layers[-1], config.l_max, hidden))
    layers.append({SCALAR: features[0]})
    if prune:
        for before, after in zip(layers[-2::-1], layers[:0:-1], strict=True):
            used = {path.source for path in couplings(before, config.l_max, after)}
            for irrep in [irrep for irrep in before if irrep not in used]:
                del before[irrep]
    return layers


class NequIP(AtomicEnergyModel):
    """Atomic energies by message passing."""

    config: NequIPConfig

    def __init__(self, config: NequIPConfig, convolution: str = "reference") -> None:
        super().__init__(config)
        generator = Generator().manual_seed(config.seed)
        channels, reached = layer_channels(config), layer_channels(config, prune=False)
        n_types, dtype = len(config.type_names), config.dtype
        self.type_embedding = nn.Parameter(normal((n_types, config.embedding_size), dtype, generator))
        self.basis = BesselBasis(config.cutoff, config.num_bessels, config.polynomial_cutoff_p, config.bessel_trainable)
        kernel = CONVOLUTIONS[convolution]
        self.register_buffer("types", torch.arange(len(config.type_names)), persistent=False)
        self.layers = nn.ModuleList(
            InteractionLayer(
                config,
                before,
                after,
                # the first layer has neither: an isolated atom has its shift and nothing else
                self_connection=config.self_connection and n > 0,
                residual=config.resnet and n > 0 and reached[n] == reached[n + 1],
                convolution=kernel,
                generator=generator,
            )
            for n, (before, after) in enumerate(pairwise(channels))
        )
        self.readout = ScalarMLP(config.readout_sizes, dtype, generator, config.readout_mlp_nonlinearity)

    @property
    def interaction_range(self) -> float:
        return self.config.num_layers * self.config.reach

    @property
    def hops(self) -> int:
        return self.config.num_layers

    def network(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        return self.readout(self.features(geometry, edge_index, atom_types))[:, 0]

    def features(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        centre, neighbor = edge_index[0], edge_index[1]
        edges = Edges(
            centre,
            neighbor,
            geometry.basis(self.basis),
            geometry.harmonics(self.config.l_max),
            atom_types.shape[0],
        )
        embedding = self.type_embedding
        # before the first layer atoms of one type are alike: its sources are the types
        features: Features = {SCALAR: embedding[:, None, :]}
        first, *others = self.layers
        features = first(features, embedding, self.types, edges._replace(source=atom_types[neighbor]))
        for layer in others:
            features = layer(features, embedding, atom_types, edges)
        return features[SCALAR][:, 0]


class InteractionLayer(nn.Module):
    """Mix channels, convolve with the neighbours, mix again, add the self-connection, end in the nonlinearity."""

    neighbor_norm: Tensor

    def __init__(
        self,
        config: NequIPConfig,
        inputs: Channels,
        outputs: Channels,
        *,
        self_connection: bool,
        residual: bool,
        convolution: type[Convolution],
        generator: Generator,
    ) -> None:
        super().__init__()
        dtype = config.dtype
        norms = [1 / sqrt(count) for count in config.neighbors_by_type]
        self.uniform_norm = norms[0] if len(set(norms)) == 1 else None
        self.register_buffer("neighbor_norm", torch.tensor(norms, dtype=dtype), persistent=False)
        self.residual = residual
        self.nonlinearity = NONLINEARITIES[config.nonlinearity](outputs)
        self.linear_in = IrrepsLinear(inputs, inputs, dtype, generator, scale=self.uniform_norm or 1.0)
        self.convolution = convolution(
            inputs,
            outputs,
            config.l_max,
            [config.num_bessels] + [config.radial_mlp_width] * config.radial_mlp_depth,
            dtype,
            generator,
        )
        self.linear_out = IrrepsLinear(self.convolution.outputs, self.nonlinearity.inputs, dtype, generator)
        self.self_connection = (
            SelfConnection(inputs, self.nonlinearity.inputs, len(norms), config.embedding_size, dtype, generator)
            if self_connection
            else None
        )

    def forward(self, features: Features, embedding: Tensor, types: Tensor, edges: Edges) -> Features:
        """Features after the layer, from those of rows with the given types."""
        messages = self.linear_in(features)
        if self.uniform_norm is None:
            norm = self.neighbor_norm[types][:, None, None]
            messages = {irrep: norm * x for irrep, x in messages.items()}
        mixed = self.linear_out(self.convolution(messages, edges))
        if self.self_connection is not None:
            for irrep, x in self.self_connection(features, embedding, types).items():
                mixed[irrep] = mixed[irrep] + x
        out = self.nonlinearity(mixed)
        return {irrep: x + features[irrep] for irrep, x in out.items()} if self.residual else out
