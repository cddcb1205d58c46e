"""From the tensors of an Allegro model (nequip-allegro 0.8.3) to the state of our Allegro of the same configuration.

Facts of the layout: the weights of an edge's harmonics are columns by channel, then degree (ours: degree, then
channel); those of the tensor product are (channels, paths) without the axes of length 1, paths by output, input and
degree of the harmonics; spline coefficients are rows by types of centre and neighbour, columns by channel, then spline.
T types, C channels, P paths.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from shoal.architectures import AllegroConfig
from shoal.architectures.allegro import BesselConfig, layer_irreps
from shoal.integrations.nequip.weights import SCALE_SHIFT, check_shapes, scale_shift
from shoal.nn.contraction import coupling_paths

ORDERS = "radial_chemical_embed.bessel_encode.bessel_weights"


Convert = Callable[[Tensor], Tensor]


def _as_is(weight: Tensor) -> Tensor:
    return weight


class _Tensor(NamedTuple):
    """A trained tensor: its name and shape upstream, its name here, the way from one to the other."""

    name: str
    shape: tuple[int, ...]
    ours: str
    convert: Convert = _as_is


def flat_shapes(config: AllegroConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every trainable tensor upstream, by its bare name."""
    shapes = {tensor.name: tensor.shape for tensor in _tensors(config)}
    if isinstance(config.radial_embedding, BesselConfig) and config.radial_embedding.bessel_trainable:
        shapes[ORDERS] = (1, config.radial_embedding.num_bessels)
    for name, trainable in (("scales", config.scales_trainable), ("shifts", config.shifts_trainable)):
        if trainable:
            shapes[SCALE_SHIFT + name] = (len(config.type_names), 1)
    return shapes


def to_ours(flat: Mapping[str, Tensor], config: AllegroConfig) -> dict[str, Tensor]:
    """Our whole state dict from upstream's tensors by their bare names; names that hold no weights are passed over.

    Energy scales, shifts and Bessel orders that are not there have their defaults. Linear in the tensors that are
    trained, so that it maps gradients too. Raises ModelFileError where a tensor is missing or of another shape.
    """
    check_shapes(flat, flat_shapes(config))
    ours = {tensor.ours: tensor.convert(flat[tensor.name]) for tensor in _tensors(config)}
    if isinstance(config.radial_embedding, BesselConfig):
        default = torch.arange(1, config.radial_embedding.num_bessels + 1, dtype=torch.float64)
        ours["embedding.basis.orders"] = flat.get(ORDERS, default).flatten()
    ours |= scale_shift(flat, len(config.type_names))
    return {name: values.clone(memory_format=torch.contiguous_format) for name, values in ours.items()}


def _tensors(config: AllegroConfig) -> list[_Tensor]:
    """All but Bessel orders, scales and shifts, which upstream may keep as buffers."""
    size, channels = config.num_scalar_features, config.num_tensor_features
    degrees, weights = config.l_max + 1, config.surroundings_weights
    by_degree = _by_degree(0, degrees, channels)
    latent_columns = _by_degree(size, weights, channels)
    tensors = _embedding(config)
    sizes = [config.embedding_size, *[config.scalar_embed_mlp_width] * config.scalar_embed_mlp_depth, size]
    nonlinearity = config.scalar_embed_mlp_nonlinearity
    tensors += _mlp("scalar_embed_mlp.mlp_module", "scalar_embed", sizes, nonlinearity)
    tensors += _mlp("tensor_embed.env_embed_linear", "tensor_embed", [size, degrees * channels], None, by_degree)
    projection = "allegro.first_layer_env_embed_projection"
    tensors += _mlp(projection, "projection", [size, size + weights * channels], None, latent_columns)
    for n, (before, after) in enumerate(pairwise(layer_irreps(config))):
        tensors.append(_product(config, n, len(coupling_paths(before, config.l_max, after))))
        last = n == config.num_layers - 1
        outputs = size if last else size + weights * channels
        sizes = [(n + 1) * size + channels, *[config.allegro_mlp_width] * config.allegro_mlp_depth, outputs]
        columns = _as_is if last else latent_columns
        nonlinearity = config.allegro_mlp_nonlinearity
        tensors += _mlp(f"allegro.latents.{n}", f"layers.{n}.latent", sizes, nonlinearity, columns)
    sizes = [(config.num_layers + 1) * size, *[config.readout_mlp_width] * config.readout_mlp_depth, 1]
    tensors += _mlp("edge_readout.mlp_module", "readout", sizes, config.readout_mlp_nonlinearity)
    return tensors


def _embedding(config: AllegroConfig) -> list[_Tensor]:
    n_types, size, chosen = len(config.type_names), config.embedding_size, config.radial_embedding
    prefix = "radial_chemical_embed."
    if not isinstance(chosen, BesselConfig):

        def by_spline(weight: Tensor) -> Tensor:
            return weight.unflatten(1, (size, chosen.num_splines)).transpose(1, 2)

        shape = (n_types * n_types, size * chosen.num_splines)
        return [_Tensor(f"{prefix}spline.class_embed.weight", shape, "embedding.coefficients", by_spline)]
    half = (n_types, size // 2)
    return [
        _Tensor(f"{prefix}type_embed.center_embed.weight", half, "embedding.centre"),
        _Tensor(f"{prefix}type_embed.neighbor_embed.weight", half, "embedding.neighbor"),
        *_mlp(f"{prefix}type_embed.basis_linear", "embedding.linear", [chosen.num_bessels, size], None),
    ]


def _product(config: AllegroConfig, n: int, n_paths: int) -> _Tensor:
    channels = (config.num_tensor_features,) if config.path_channel_coupling else ()
    shape = channels + ((n_paths,) if n_paths > 1 else ())
    return _Tensor(
        f"allegro.tps.{n}.weights",
        shape,
        f"layers.{n}.contraction.weight",
        lambda weight: weight.reshape(-1, n_paths).T,
    )


def _by_degree(kept: int, degrees: int, channels: int) -> Convert:
    """The first `kept` columns as they are, the others from (channel, degree) to (degree, channel)."""

    def convert(weight: Tensor) -> Tensor:
        others = weight[:, kept:].unflatten(1, (channels, degrees)).transpose(1, 2).flatten(1)
        return torch.cat([weight[:, :kept], others], dim=1)

    return convert


def _mlp(
    name: str,
    ours: str,
    sizes: list[int],
    nonlinearity: str | None,
    last: Convert = _as_is,
) -> list[_Tensor]:
    """Layers of a network, `last` the conversion of the last; upstream names those of a deep linear one otherwise."""
    n_layers = len(sizes) - 1
    deep_linear = nonlinearity is None and n_layers > 1
    return [
        _Tensor(
            f"{name}.mlp.weights.{k}" if deep_linear else f"{name}.mlp.{2 * k}.weight",
            shape,
            f"{ours}.weights.{k}",
            last if k == n_layers - 1 else _as_is,
        )
        for k, shape in enumerate(pairwise(sizes))
    ]
