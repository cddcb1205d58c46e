"""The configuration of a nequip model, in the words of our architectures."""

from collections.abc import Mapping
from typing import Any

from shoal.errors import ModelFileError
from shoal.files import ArchitectureSpec

_SHARED = {
    "r_max": "cutoff",
    "type_names": "type_names",
    "per_edge_type_cutoff": "per_edge_type_cutoff",
    "avg_num_neighbors": "mean_neighbors",
    "per_type_energy_scales_trainable": "scales_trainable",
    "per_type_energy_shifts_trainable": "shifts_trainable",
    "model_dtype": "model_dtype",
    "seed": "seed",
    "l_max": "l_max",
    "parity": "parity",
    "num_layers": "num_layers",
    "readout_mlp_hidden_layers_depth": "readout_mlp_depth",
    "readout_mlp_hidden_layers_width": "readout_mlp_width",
    "readout_mlp_nonlinearity": "readout_mlp_nonlinearity",
}
_NEQUIP = {
    **_SHARED,
    "preset": "preset",
    "num_features": "num_features",
    "type_embed_num_features": "type_embedding_size",
    "radial_mlp_depth": "radial_mlp_depth",
    "radial_mlp_width": "radial_mlp_width",
    "num_bessels": "num_bessels",
    "bessel_trainable": "bessel_trainable",
    "polynomial_cutoff_p": "polynomial_cutoff_p",
    "convnet_sc": "self_connection",
    "convnet_resnet": "resnet",
    "convnet_nonlinearity_type": "nonlinearity",
}
_ALLEGRO = {
    **_SHARED,
    "num_scalar_features": "num_scalar_features",
    "num_tensor_features": "num_tensor_features",
    "radial_chemical_embed_dim": "radial_embedding_size",
    "scalar_embed_mlp_hidden_layers_depth": "scalar_embed_mlp_depth",
    "scalar_embed_mlp_hidden_layers_width": "scalar_embed_mlp_width",
    "scalar_embed_mlp_nonlinearity": "scalar_embed_mlp_nonlinearity",
    "allegro_mlp_hidden_layers_depth": "allegro_mlp_depth",
    "allegro_mlp_hidden_layers_width": "allegro_mlp_width",
    "allegro_mlp_nonlinearity": "allegro_mlp_nonlinearity",
    "tp_path_channel_coupling": "path_channel_coupling",
    "weight_individual_irreps": "weight_individual_irreps",
}
BUILDERS = {
    "NequIPGNNModel": ("nequip", _NEQUIP),
    "PresetNequIPGNNModel": ("nequip", _NEQUIP),
    "AllegroModel": ("allegro", _ALLEGRO),
}
"""Names of upstream's builders: the architecture, and its keys by upstream's."""

_ELSEWHERE = {"_target_", "compile_mode", "per_type_energy_scales", "per_type_energy_shifts", "do_derivatives"}
_FIXED: dict[str, Any] = {
    "categorical_graph_field_embed": None,
    "learnable_shift": False,
    "convnet_nonlinearity_scalars": {"e": "silu", "o": "tanh"},
    "convnet_nonlinearity_gates": {"e": "silu", "o": "tanh"},
    "forward_normalize": True,
}
"""Keys that ours does not have, at the value that ours has built in."""


def architecture_of(model: Mapping[str, Any]) -> ArchitectureSpec:
    """Our architecture and its configuration from upstream's `model` section.

    Raises ModelFileError naming what has no counterpart here.
    """
    builder = str(model.get("_target_", "")).rpartition(".")[2]
    if builder not in BUILDERS:
        raise ModelFileError(
            f"the model was built by {model.get('_target_')!r}; there is an equal of {', '.join(BUILDERS)}"
        )
    architecture, words = BUILDERS[builder]
    config: dict[str, Any] = {}
    for key, value in model.items():
        if key in words:
            config[words[key]] = value.upper() if key == "preset" else value
        elif key == "pair_potential":
            config["zbl"] = _zbl(value, model["type_names"])
        elif key == "radial_chemical_embed" and architecture == "allegro":
            config["radial_embedding"] = _radial_embedding(value)
        elif key not in _ELSEWHERE and (key not in _FIXED or value != _FIXED[key]):
            raise ModelFileError(f"the model was built with {key}={value!r}, which {architecture} here does not have")
    return ArchitectureSpec(name=architecture, config=config)


def species_map(data: Mapping[str, Any]) -> dict[str, str] | None:
    """Chemical symbol -> type name from the transforms of upstream's `data` section, None if it does not say."""
    for transform in data.get("transforms") or ():
        if str(transform.get("_target_", "")).endswith("ChemicalSpeciesToAtomTypeMapper"):
            given = transform.get("chemical_species_to_atom_type_map")
            return dict(given) if given else {name: name for name in transform["model_type_names"]}
    return None


def _zbl(value: Mapping[str, Any] | None, type_names: list[str]) -> dict[str, Any] | None:
    if value is None:
        return None
    target, units = str(value.get("_target_")), value.get("units")
    if not target.endswith(".ZBL") or units != "metal":
        raise ModelFileError(
            f"the model has the pair potential {target} in units {units!r}; ZBL in metal is known here"
        )
    exponent = float(value.get("polynomial_cutoff_p", 6))
    if not exponent.is_integer():
        raise ModelFileError(f"the model's ZBL term has polynomial_cutoff_p={exponent}; known are whole numbers")
    species = dict(zip(type_names, value["chemical_species"], strict=True))
    return {"species": species, "polynomial_cutoff_p": int(exponent)}


def _radial_embedding(value: Mapping[str, Any]) -> dict[str, Any]:
    target = str(value.get("_target_")).rpartition(".")[2]
    kinds = {"TwoBodyBesselScalarEmbed": "bessel", "TwoBodySplineScalarEmbed": "spline"}
    if target not in kinds:
        raise ModelFileError(f"the model has the radial embedding {target}; known are {', '.join(kinds)}")
    return {"basis": kinds[target], **{key: item for key, item in value.items() if key != "_target_"}}
