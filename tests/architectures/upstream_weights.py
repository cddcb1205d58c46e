"""Weights under the names and in the flat layout of nequip 0.19.1, and their way into our modules.

Facts of the layout: irreps in the order of the features (linear_2: sorted by degree, odd before even), one block
(inputs, outputs) after the other; radial columns in the order of the paths. It holds every irrep that a path
reaches; ours leaves out those that cannot influence an energy.
"""

from math import prod
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from shoal.architectures import NequIPConfig
from shoal.architectures.nequip import layer_channels
from shoal.nn import SCALAR, Channels, Gate, Irrep, couplings

Blocks = dict[Irrep, tuple[int, ...]]


def made_up(name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that depend on the name alone, float64."""
    return torch.from_numpy(np.random.RandomState(crc32(name.encode())).standard_normal(shape))


def flat_shapes(config: NequIPConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every trainable tensor upstream."""
    full = layer_channels(config, prune=False)
    size = config.embedding_size
    shapes: dict[str, tuple[int, ...]] = {"type_embed.embed_module.weight": (len(config.type_names), size)}
    for n in range(config.num_layers):
        for name, blocks in linear_blocks(config, full[n], full[n + 1], n > 0).items():
            shapes[f"layer{n}_convnet.conv.{name}"] = (sum(prod(shape) for shape in blocks.values()),)
        columns = sum(path.channels for path in couplings(full[n], config.l_max, full[n + 1]))
        sizes = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth, columns]
        for k in range(len(sizes) - 1):
            shapes[f"layer{n}_convnet.conv.edge_mlp.mlp.{2 * k}.weight"] = (sizes[k], sizes[k + 1])
    shapes["per_atom_energy_readout.mlp_module.mlp.0.weight"] = (full[-1][SCALAR], 1)
    if config.bessel_trainable:
        shapes["bessel_encode.bessel_weights"] = (1, config.num_bessels)
    return shapes


def linear_blocks(config: NequIPConfig, before: Channels, after: Channels, self_connection: bool) -> dict[str, Blocks]:
    """Blocks of the flat linear weights of one layer, by upstream's name."""
    gated = Gate(after).inputs
    middle = dict.fromkeys(sorted(after, key=lambda irrep: (irrep.l, irrep.parity)), 0)
    for path in couplings(before, config.l_max, after):
        middle[path.target] += path.channels
    blocks: dict[str, Blocks] = {
        "linear_1.weight": {irrep: (count, count) for irrep, count in before.items()},
        "linear_2.weight": {irrep: (count, gated[irrep]) for irrep, count in middle.items()},
    }
    if self_connection:
        blocks["sc.weight"] = {
            irrep: (count, config.embedding_size, gated[irrep]) for irrep, count in before.items() if irrep in gated
        }
    return blocks


def to_ours(flat: dict[str, Tensor], config: NequIPConfig) -> dict[str, Tensor]:
    """Our state dict, energy scales and shifts excepted, from upstream's tensors."""
    full, live = layer_channels(config, prune=False), layer_channels(config)
    ours = {
        "type_embedding": flat["type_embed.embed_module.weight"],
        "readout.weights.0": flat["per_atom_energy_readout.mlp_module.mlp.0.weight"],
    }
    if config.bessel_trainable:
        ours["basis.orders"] = flat["bessel_encode.bessel_weights"].flatten()
    names = {"linear_1.weight": "linear_in", "linear_2.weight": "linear_out", "sc.weight": "self_connection"}
    for n in range(config.num_layers):
        theirs, own = f"layer{n}_convnet.conv.", f"layers.{n}."
        before, after, kept_in, kept_out = full[n], full[n + 1], live[n], live[n + 1]
        gates = torch.cat(
            [torch.ones(after[SCALAR], dtype=torch.bool)]
            + [torch.full((count,), ir in kept_out) for ir, count in after.items() if ir.l > 0]
        )
        for name, blocks in linear_blocks(config, before, after, n > 0).items():
            kept = kept_in if name == "linear_1.weight" else kept_out
            parts = flat[theirs + name].split([prod(shape) for shape in blocks.values()])
            for (irrep, shape), part in zip(blocks.items(), parts, strict=True):
                if irrep in kept and (irrep in kept_in or name != "sc.weight"):
                    block = part.reshape(shape)
                    cut = irrep == SCALAR and name != "linear_1.weight"
                    ours[f"{own}{names[name]}.weight.{irrep}"] = block[..., gates] if cut else block
        paths = couplings(before, config.l_max, after)
        columns = torch.cat(
            [torch.full((path.channels,), path.source in kept_in and path.target in kept_out) for path in paths]
        )
        for k in range(config.radial_mlp_depth + 1):
            weight = flat[f"{theirs}edge_mlp.mlp.{2 * k}.weight"]
            last = k == config.radial_mlp_depth
            ours[f"{own}convolution.radial.weights.{k}"] = weight[:, columns] if last else weight
    return {name: values.clone() for name, values in ours.items()}
