"""nequip's own models of our configurations and what they say; needs nequip where it is called."""

from collections.abc import Mapping
from typing import Any

import torch
from tests.architectures.upstream_systems import Systems
from torch import Tensor, nn

from shoal.architectures import ArchitectureConfig, NequIPConfig
from shoal.integrations.nequip.weights import bare_name

QUANTITIES = ("energy", "atomic_energy", "forces", "stress", "virial")


def scales_shifts(n_types: int) -> tuple[list[float], list[float]]:
    """Energy scales and shifts of the types, eV."""
    return [2.0 + 0.5 * k for k in range(n_types)], [-10.0 - 3.0 * k for k in range(n_types)]


def build(settings: Mapping[str, Any], seed: int = 1) -> nn.Module:
    """The model that nequip builds for settings of our `NequIPConfig`."""
    from nequip.model import NequIPGNNModel, PresetNequIPGNNModel

    config = NequIPConfig(**settings)
    names = list(config.type_names)
    scales, shifts = (dict(zip(names, values, strict=True)) for values in scales_shifts(len(names)))
    sizes = {
        "num_layers": config.num_layers,
        "l_max": config.l_max,
        "parity": config.parity,
        "num_features": list(config.features_by_degree),
        "type_embed_num_features": config.type_embedding_size,
        "radial_mlp_depth": config.radial_mlp_depth,
        "radial_mlp_width": config.radial_mlp_width,
    }
    preset = settings.get("preset")
    builder, arguments = (PresetNequIPGNNModel, {"preset": preset}) if preset else (NequIPGNNModel, sizes)
    return builder(
        seed=seed,
        model_dtype=config.model_dtype,
        r_max=config.cutoff,
        type_names=names,
        per_edge_type_cutoff=config.per_edge_type_cutoff,
        num_bessels=config.num_bessels,
        bessel_trainable=config.bessel_trainable,
        polynomial_cutoff_p=config.polynomial_cutoff_p,
        avg_num_neighbors=dict(zip(names, config.neighbors_by_type, strict=True)),
        convnet_sc=config.self_connection,
        convnet_resnet=config.resnet,
        convnet_nonlinearity_type=config.nonlinearity,
        readout_mlp_hidden_layers_depth=config.readout_mlp_depth,
        readout_mlp_hidden_layers_width=config.readout_mlp_width,
        readout_mlp_nonlinearity=config.readout_mlp_nonlinearity,
        per_type_energy_scales=scales,
        per_type_energy_shifts=shifts,
        per_type_energy_scales_trainable=config.scales_trainable,
        per_type_energy_shifts_trainable=config.shifts_trainable,
        pair_potential=pair_potential(config),
        **arguments,
    )


def pair_potential(config: ArchitectureConfig) -> dict[str, Any] | None:
    if config.zbl is None:
        return None
    species = config.zbl.species or {name: name for name in config.type_names}
    return {
        "_target_": "nequip.nn.pair_potential.ZBL",
        "units": "metal",
        "chemical_species": [species[name] for name in config.type_names],
        "polynomial_cutoff_p": config.zbl.polynomial_cutoff_p,
    }


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """By their bare names."""
    return {bare_name(name): parameter for name, parameter in model.named_parameters()}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The whole state, by bare names."""
    return {bare_name(name): values.clone() for name, values in model.state_dict().items()}


def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Replace every parameter."""
    own = parameters(model)
    assert set(weights) == set(own), set(weights) ^ set(own)
    with torch.no_grad():
        for name, values in weights.items():
            assert values.shape == own[name].shape, name
            own[name].copy_(values)


def predict(model: nn.Module, atoms: Systems) -> dict[str, Tensor]:
    """What nequip gives: energy (S,), atomic_energy (N,) eV, forces (N, 3), stress and virial (S, 3, 3)."""
    from nequip.data import AtomicDataDict as Keys

    out = model(
        {
            Keys.POSITIONS_KEY: atoms.positions.clone(),
            Keys.CELL_KEY: atoms.cell.clone(),
            Keys.EDGE_INDEX_KEY: atoms.edge_index,
            Keys.EDGE_CELL_SHIFT_KEY: atoms.edge_shift,
            Keys.ATOM_TYPE_KEY: atoms.types,
            Keys.BATCH_KEY: atoms.system_index,
            Keys.NUM_NODES_KEY: atoms.n_atoms,
        }
    )
    return {
        "energy": out[Keys.TOTAL_ENERGY_KEY][:, 0],
        "atomic_energy": out[Keys.PER_ATOM_ENERGY_KEY][:, 0],
        "forces": out[Keys.FORCE_KEY],
        "stress": out[Keys.STRESS_KEY],
        "virial": out[Keys.VIRIAL_KEY],
    }
