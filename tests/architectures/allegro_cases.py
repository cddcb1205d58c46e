"""Settings in which our Allegro is compared with that of nequip-allegro, which is needed where `build` is called."""

from collections.abc import Mapping
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
import torch
from tests.architectures.upstream import pair_potential, scales_shifts
from tests.architectures.upstream_cases import TYPES, Settings
from tests.architectures.upstream_systems import CUTOFF
from torch import Tensor, nn

from shoal.architectures import Allegro, AllegroConfig
from shoal.integrations.nequip.allegro_weights import flat_shapes, to_ours
from shoal.integrations.nequip.weights import SCALE_SHIFT

# three layers: with fewer, features of the other parity cannot reach an energy
BASE: Settings = {
    "cutoff": CUTOFF,
    "mean_neighbors": 2.0,
    "num_layers": 3,
    "num_scalar_features": 6,
    "num_tensor_features": 3,
    "scalar_embed_mlp_width": 5,
    "allegro_mlp_width": 7,
    "readout_mlp_width": 4,
    "model_dtype": "float64",
}
EVERY_KIND: dict[str, Settings] = {
    f"l_max {l_max}, {'both parities' if parity else 'one parity'}, {n_types} type{'s' * (n_types > 1)}": {
        "l_max": l_max,
        "parity": parity,
        "type_names": TYPES[n_types],
    }
    for l_max, parity, n_types in product(range(4), (True, False), TYPES)
}


def options(n_types: int) -> dict[str, Settings]:
    """Every option of the builder, changed alone and together."""
    names = TYPES[n_types]
    uneven = {
        centre: {other: 2.2 + 0.3 * a + 0.1 * b for b, other in enumerate(names)} for a, centre in enumerate(names)
    }
    spline: Settings = {"radial_embedding": {"basis": "spline", "num_splines": 9, "spline_span": 5}}
    alone: dict[str, Settings] = {
        "defaults": {},
        "one layer": {"num_layers": 1},
        "two layers": {"num_layers": 2},
        "neighbours per type": {"mean_neighbors": [3.0, 5.0, 9.0][:n_types]},
        "trained Bessel orders": {
            "radial_embedding": {
                "basis": "bessel",
                "num_bessels": 5,
                "bessel_trainable": True,
                "polynomial_cutoff_p": 5,
            }
        },
        "spline": spline,
        "splines that overlap all": {"radial_embedding": {"basis": "spline", "num_splines": 4, "spline_span": 4}},
        "embedding size": {"radial_embedding_size": 8},
        "spline, embedding size": {**spline, "radial_embedding_size": 5},
        "one weight per path": {"path_channel_coupling": False},
        "one weight for all degrees": {"weight_individual_irreps": False},
        "linear networks": {"scalar_embed_mlp_depth": 0, "allegro_mlp_depth": 0, "readout_mlp_depth": 0},
        "deep networks": {"scalar_embed_mlp_depth": 3, "allegro_mlp_depth": 2, "readout_mlp_depth": 2},
        "mish, gelu, none": {
            "scalar_embed_mlp_nonlinearity": "mish",
            "allegro_mlp_nonlinearity": "gelu",
            "readout_mlp_nonlinearity": None,
        },
        "gelu, none, mish": {
            "scalar_embed_mlp_nonlinearity": "gelu",
            "allegro_mlp_nonlinearity": None,
            "readout_mlp_nonlinearity": "mish",
        },
        "none, mish, gelu": {
            "scalar_embed_mlp_nonlinearity": None,
            "allegro_mlp_nonlinearity": "mish",
            "readout_mlp_nonlinearity": "gelu",
        },
        "trained scales and shifts": {"scales_trainable": True, "shifts_trainable": True},
        "cutoff per centre": {"per_edge_type_cutoff": {names[-1]: 2.6}},
        "cutoffs per pair": {"per_edge_type_cutoff": uneven},
        "spline, cutoffs per pair": {**spline, "per_edge_type_cutoff": uneven},
        "ZBL": {"zbl": True},
        "spline, ZBL": {**spline, "zbl": True},
    }
    together: Settings = {
        **alone["neighbours per type"],
        **alone["trained Bessel orders"],
        **alone["embedding size"],
        **alone["one weight per path"],
        **alone["one weight for all degrees"],
        **alone["deep networks"],
        **alone["mish, gelu, none"],
        **alone["trained scales and shifts"],
        **alone["cutoffs per pair"],
        "zbl": {"species": dict(zip(names, ["Si", "C", "Au"], strict=False)), "polynomial_cutoff_p": 5},
    }
    return {**alone, "all of these": together}


MATRIX: dict[str, list[Settings]] = {
    option: [{**BASE, **kind, **options(len(kind["type_names"]))[option]} for kind in EVERY_KIND.values()]
    for option in options(1)
}
MATRIX["l_max 4"] = [{**BASE, "l_max": 4, "num_layers": 2, "type_names": TYPES[3], "parity": p} for p in (True, False)]
MATRIX["five layers"] = [{**BASE, "l_max": 2, "num_layers": 5, "type_names": TYPES[3]}]
MATRIX["sizes of its own"] = [
    {"cutoff": CUTOFF, "type_names": TYPES[3], "l_max": 2, "mean_neighbors": 9.0, "model_dtype": "float64"}
]

ONE_KIND: Settings = {**BASE, "l_max": 2, "parity": True, "type_names": TYPES[3]}
COMMITTED: dict[str, Settings] = {
    **{kind: {**BASE, **settings} for kind, settings in EVERY_KIND.items()},
    **{option: {**ONE_KIND, **settings} for option, settings in options(3).items()},
    **{name: MATRIX[name][0] for name in ("l_max 4", "five layers", "sizes of its own")},
}
"""Of these upstream's results are in git."""


def made_up(config: AllegroConfig) -> dict[str, Tensor]:
    """Standard normal numbers that depend on a tensor's name alone, float64."""
    return {
        name: torch.from_numpy(np.asarray(np.random.RandomState(crc32(name.encode())).standard_normal(shape)))
        for name, shape in flat_shapes(config).items()
    }


def ours(settings: Settings, flat: Mapping[str, Tensor]) -> Allegro:
    """Our model with upstream's weights; energy scales and shifts that are no weights as upstream was built."""
    config = AllegroConfig(**settings)
    scales, shifts = (torch.tensor(values, dtype=torch.float64) for values in scales_shifts(len(config.type_names)))
    model = Allegro(config)
    model.load_state_dict(to_ours({SCALE_SHIFT + "scales": scales, SCALE_SHIFT + "shifts": shifts, **flat}, config))
    return model


def build(settings: Settings, seed: int = 1) -> nn.Module:
    """The model that nequip-allegro builds for settings of our `AllegroConfig`."""
    from allegro.model import AllegroModel

    config = AllegroConfig(**settings)
    names = list(config.type_names)
    scales, shifts = (dict(zip(names, values, strict=True)) for values in scales_shifts(len(names)))
    networks = {
        f"{network}_mlp_{theirs}": getattr(config, f"{network}_mlp_{own}")
        for network in ("scalar_embed", "allegro", "readout")
        for own, theirs in (
            ("depth", "hidden_layers_depth"),
            ("width", "hidden_layers_width"),
            ("nonlinearity", "nonlinearity"),
        )
    }
    return AllegroModel(
        seed=seed,
        model_dtype=config.model_dtype,
        r_max=config.cutoff,
        type_names=names,
        per_edge_type_cutoff=config.per_edge_type_cutoff,
        l_max=config.l_max,
        parity=config.parity,
        num_layers=config.num_layers,
        num_scalar_features=config.num_scalar_features,
        num_tensor_features=config.num_tensor_features,
        radial_chemical_embed=_radial_chemical_embed(config),
        radial_chemical_embed_dim=config.radial_embedding_size,
        tp_path_channel_coupling=config.path_channel_coupling,
        weight_individual_irreps=config.weight_individual_irreps,
        avg_num_neighbors=dict(zip(names, config.neighbors_by_type, strict=True)),
        per_type_energy_scales=scales,
        per_type_energy_shifts=shifts,
        per_type_energy_scales_trainable=config.scales_trainable,
        per_type_energy_shifts_trainable=config.shifts_trainable,
        pair_potential=pair_potential(config),
        **networks,
    )


def _radial_chemical_embed(config: AllegroConfig) -> dict[str, Any]:
    settings = config.radial_embedding.model_dump()
    builder = {"bessel": "TwoBodyBesselScalarEmbed", "spline": "TwoBodySplineScalarEmbed"}[settings.pop("basis")]
    return {"_target_": f"allegro.nn.{builder}", **settings}
