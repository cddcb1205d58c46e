"""From the tensors of a NequIP GNN model (nequip 0.19.1) to the state of our NequIP of the same configuration.

Facts of the layout: irreps in the order of the features (linear_2: sorted by degree, odd before even), one block
(inputs, outputs) after the other in one flat tensor; radial columns in the order of the paths. It holds every irrep
that a path reaches; ours leaves out those that cannot influence an energy. T types.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from shoal.architectures import NequIPConfig
from shoal.architectures.nequip import layer_channels
from shoal.errors import ModelFileError
from shoal.nn import NONLINEARITIES, SCALAR, Channels, Irrep, couplings

EMBEDDING = "type_embed.embed_module.weight"
ORDERS = "bessel_encode.bessel_weights"
SCALE_SHIFT = "per_type_energy_scale_shift."
LINEARS = {"linear_1.weight": "linear_in", "linear_2.weight": "linear_out", "sc.weight": "self_connection"}

Blocks = dict[Irrep, tuple[int, ...]]


def bare_name(name: str) -> str:
    """A tensor's name without the wrappers that nequip puts around a model."""
    return name.rpartition("func.")[2]


def flat_shapes(config: NequIPConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every trainable tensor upstream, by its bare name."""
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (len(config.type_names), config.embedding_size)}
    for n in range(config.num_layers):
        layer = _Layer.of(config, n)
        for name, blocks in layer.blocks(config).items():
            shapes[layer.prefix + name] = (sum(prod(shape) for shape in blocks.values()),)
        columns = sum(path.channels for path in couplings(layer.before, config.l_max, layer.after))
        sizes = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth, columns]
        shapes |= dict(zip(_radial_names(config, n), pairwise(sizes), strict=True))
    shapes |= dict(zip(_readout_names(config), pairwise(config.readout_sizes), strict=True))
    if config.bessel_trainable:
        shapes[ORDERS] = (1, config.num_bessels)
    for name, trainable in (("scales", config.scales_trainable), ("shifts", config.shifts_trainable)):
        if trainable:
            shapes[SCALE_SHIFT + name] = (len(config.type_names), 1)
    return shapes


def to_ours(flat: Mapping[str, Tensor], config: NequIPConfig) -> dict[str, Tensor]:
    """Our whole state dict from upstream's tensors by their bare names; names that hold no weights are passed over.

    Energy scales, shifts and Bessel orders that are not there have their defaults. Linear in the tensors that are
    trained, so that it maps gradients too. Raises ModelFileError where a tensor is missing or of another shape.
    """
    check_shapes(flat, flat_shapes(config))
    ours = {"type_embedding": flat[EMBEDDING]}
    ours |= {f"readout.weights.{k}": flat[name] for k, name in enumerate(_readout_names(config))}
    ours["basis.orders"] = (
        flat[ORDERS].flatten() if ORDERS in flat else torch.arange(1, config.num_bessels + 1, dtype=torch.float64)
    )
    ours |= scale_shift(flat, len(config.type_names))
    for n in range(config.num_layers):
        ours |= _linears(flat, config, n) | _radial(flat, config, n)
    return {name: values.clone() for name, values in ours.items()}


def scale_shift(flat: Mapping[str, Tensor], n_types: int) -> dict[str, Tensor]:
    """Energy scales and shifts (T,) of any model of upstream's, by our names; those that are not there are 1 and 0."""
    ours = {}
    for name, default in (("scales", 1.0), ("shifts", 0.0)):
        values = flat.get(SCALE_SHIFT + name, torch.empty(0))  # upstream's empty tensor is none
        one_or_each = values.flatten() if values.numel() else torch.tensor([default])
        ours[f"scale_shift.{name}"] = one_or_each.to(torch.float64).expand(n_types)
    return ours


def check_shapes(flat: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelFileError where a tensor of these shapes is missing or of another."""
    for name, shape in shapes.items():
        if name not in flat:
            raise ModelFileError(f"the model has no tensor {name!r}; its configuration asks for one of shape {shape}")
        if tuple(flat[name].shape) != shape:
            raise ModelFileError(f"tensor {name!r} has shape {tuple(flat[name].shape)}, its configuration says {shape}")


class _Layer(NamedTuple):
    """Channels before and after a layer upstream, and those among them that ours keeps."""

    prefix: str
    self_connection: bool
    before: Channels
    after: Channels
    kept_before: Channels
    kept_after: Channels

    @staticmethod
    def of(config: NequIPConfig, n: int) -> "_Layer":
        full, kept = layer_channels(config, prune=False), layer_channels(config)
        self_connection = config.self_connection and n > 0
        return _Layer(f"layer{n}_convnet.conv.", self_connection, full[n], full[n + 1], kept[n], kept[n + 1])

    def blocks(self, config: NequIPConfig) -> dict[str, Blocks]:
        """Blocks of the flat linear weights, by upstream's name."""
        mixed = NONLINEARITIES[config.nonlinearity](self.after).inputs
        middle = dict.fromkeys(sorted(self.after, key=lambda irrep: (irrep.l, irrep.parity)), 0)
        for path in couplings(self.before, config.l_max, self.after):
            middle[path.target] += path.channels
        blocks: dict[str, Blocks] = {
            "linear_1.weight": {irrep: (count, count) for irrep, count in self.before.items()},
            "linear_2.weight": {irrep: (count, mixed[irrep]) for irrep, count in middle.items()},
        }
        if self.self_connection:
            blocks["sc.weight"] = {
                irrep: (count, config.embedding_size, mixed[irrep])
                for irrep, count in self.before.items()
                if irrep in mixed
            }
        return blocks

    def kept_scalars(self, config: NequIPConfig) -> Tensor:
        """Which of the scalars that enter the nonlinearity are features or gates of features that ours keeps."""
        gates = [
            torch.full((count,), irrep in self.kept_after)
            for irrep, count in self.after.items()
            if irrep.l > 0 and config.nonlinearity == "gate"
        ]
        return torch.cat([torch.ones(self.after[SCALAR], dtype=torch.bool), *gates])


def _linears(flat: Mapping[str, Tensor], config: NequIPConfig, n: int) -> dict[str, Tensor]:
    layer = _Layer.of(config, n)
    scalars = layer.kept_scalars(config)
    ours = {}
    for name, blocks in layer.blocks(config).items():
        parts = flat[layer.prefix + name].split([prod(shape) for shape in blocks.values()])
        for (irrep, shape), part in zip(blocks.items(), parts, strict=True):
            into_middle = name == "linear_1.weight"
            if irrep not in (layer.kept_before if into_middle else layer.kept_after):
                continue
            if name == "sc.weight" and irrep not in layer.kept_before:
                continue
            block = part.reshape(shape)
            cut = block[..., scalars] if irrep == SCALAR and not into_middle else block
            ours[f"layers.{n}.{LINEARS[name]}.weight.{irrep}"] = cut
    return ours


def _radial(flat: Mapping[str, Tensor], config: NequIPConfig, n: int) -> dict[str, Tensor]:
    layer = _Layer.of(config, n)
    kept = torch.cat(
        [
            torch.full((path.channels,), path.source in layer.kept_before and path.target in layer.kept_after)
            for path in couplings(layer.before, config.l_max, layer.after)
        ]
    )
    weights = [flat[name] for name in _radial_names(config, n)]
    weights[-1] = weights[-1][:, kept]
    return {f"layers.{n}.convolution.radial.weights.{k}": weight for k, weight in enumerate(weights)}


def _radial_names(config: NequIPConfig, n: int) -> list[str]:
    return [f"layer{n}_convnet.conv.edge_mlp.mlp.{2 * k}.weight" for k in range(config.radial_mlp_depth + 1)]


def _readout_names(config: NequIPConfig) -> list[str]:
    layers = range(config.readout_mlp_depth + 1)
    if config.readout_mlp_nonlinearity is None and config.readout_mlp_depth > 0:
        return [f"per_atom_energy_readout.mlp_module.mlp.weights.{k}" for k in layers]
    return [f"per_atom_energy_readout.mlp_module.mlp.{2 * k}.weight" for k in layers]
