"""Small models of every architecture and the settings that matter: what the laws are held against."""

from typing import Any, NamedTuple

import pytest
from tests.architectures.clusters import CUTOFF

from shoal.architectures import AtomicEnergyModel, build

# the mean number of neighbours is far below the truth: every kind of feature tells in the energies
BASE: dict[str, dict[str, Any]] = {
    "nequip": {"mean_neighbors": 0.3, "num_layers": 2, "num_features": 4, "radial_mlp_width": 8},
    "allegro": {
        "mean_neighbors": 0.6,
        "num_layers": 2,
        "num_scalar_features": 8,
        "num_tensor_features": 4,
        "scalar_embed_mlp_width": 8,
        "allegro_mlp_width": 8,
        "readout_mlp_width": 4,
    },
}


class Case(NamedTuple):
    """An architecture and its settings."""

    architecture: str
    settings: dict[str, Any]

    def model(self, **options: Any) -> AtomicEnergyModel:
        """A small float64 model of two types with energies of order 1 eV and distinct shifts."""
        config = {"cutoff": CUTOFF, "type_names": ("A", "B"), "model_dtype": "float64", "seed": 5}
        built = build(self.architecture, {**config, **BASE[self.architecture], **self.settings, **options})
        built.set_scales_shifts([10.0, 11.0], [-1.0, -4.0])
        return built

    def has(self, name: str, default: Any) -> Any:
        """A setting of its model, as given here."""
        return {**BASE[self.architecture], **self.settings}.get(name, default)


UNEVEN = {"A": {"A": 2.9, "B": 2.4}, "B": 3.0}
ZBL = {"species": {"A": "C", "B": "O"}}
EVERYTHING = {
    "num_layers": 3,
    "l_max": 1,
    "parity": False,
    "readout_mlp_depth": 1,
    "readout_mlp_width": 5,
    "readout_mlp_nonlinearity": "gelu",
    "nonlinearity": "norm",
    "resnet": True,
    "bessel_trainable": True,
    "mean_neighbors": (0.3, 0.5),
    "per_edge_type_cutoff": UNEVEN,
    "zbl": ZBL,
}
"""All that a NequIP may have, at once."""
SPLINE = {"radial_embedding": {"basis": "spline", "num_splines": 8, "spline_span": 5}}
DEEP = {
    "scalar_embed_mlp_depth": 2,
    "scalar_embed_mlp_nonlinearity": "mish",
    "allegro_mlp_depth": 2,
    "allegro_mlp_nonlinearity": "gelu",
    "readout_mlp_depth": 2,
    "readout_mlp_nonlinearity": None,
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "nequip": {
        # parity on and off differ only from four layers on: what fewer layers add cannot reach an energy
        **{
            f"l_max {l}, {kind}": {"l_max": l, "parity": p, "num_layers": 4}
            for l in range(4)
            for kind, p in (("both", True), ("one", False))
        },
        "one layer": {"l_max": 2, "num_layers": 1},
        "two layers": {"l_max": 2},
        "features per degree": {"l_max": 2, "num_features": (4, 3, 2), "type_embedding_size": 3},
        "neighbours per type": {"mean_neighbors": (0.3, 0.8)},
        "radial basis": {"bessel_trainable": True, "num_bessels": 5, "polynomial_cutoff_p": 4},
        "linear radial network": {"radial_mlp_depth": 0},
        "fewer embedding features than types": {"type_embedding_size": 1},
        "deep readout": {"readout_mlp_depth": 2, "readout_mlp_nonlinearity": "mish"},
        "linear readout": {"readout_mlp_depth": 1, "readout_mlp_nonlinearity": None},
        "norm nonlinearity": {"nonlinearity": "norm", "l_max": 2, "num_layers": 4},
        "resnet": {"resnet": True, "l_max": 2, "parity": False, "num_layers": 4},
        "no self-connection": {"self_connection": False},
        "cutoffs per pair": {"per_edge_type_cutoff": UNEVEN},
        "ZBL": {"zbl": ZBL},
        "everything": EVERYTHING,
    },
    "allegro": {
        **{
            f"l_max {l}, {kind}": {"l_max": l, "parity": p}
            for l in range(3)
            for kind, p in (("both", True), ("one", False))
        },
        "l_max 3, both": {"l_max": 3, "num_layers": 3},
        "one layer": {"l_max": 2, "num_layers": 1},
        "three layers, both": {"l_max": 2, "num_layers": 3},
        "spline": {**SPLINE, "l_max": 2},
        "trained Bessel orders": {
            "radial_embedding": {
                "basis": "bessel",
                "num_bessels": 5,
                "bessel_trainable": True,
                "polynomial_cutoff_p": 4,
            }
        },
        "one weight per path and for all degrees": {"path_channel_coupling": False, "weight_individual_irreps": False},
        "neighbours per type": {"mean_neighbors": (0.6, 1.1)},
        "deep networks": DEEP,
        "linear networks": {"scalar_embed_mlp_depth": 0, "allegro_mlp_depth": 0, "readout_mlp_depth": 0},
        "cutoffs per pair": {**SPLINE, "per_edge_type_cutoff": UNEVEN},
        "ZBL": {"zbl": ZBL},
    },
}
EVERY_CASE = pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(name, settings), id=f"{name}, {option}")
        for name, options in OPTIONS.items()
        for option, settings in options.items()
    ],
)
TINY = {"num_features": 2, "radial_mlp_width": 3, "num_bessels": 3}
SOME_OF_EACH = pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("nequip", {**TINY, "l_max": 2, "bessel_trainable": True}), id="nequip"),
        pytest.param(Case("nequip", {**EVERYTHING, **TINY}), id="nequip, everything"),
        pytest.param(Case("allegro", {"l_max": 1}), id="allegro"),
        pytest.param(Case("allegro", {**SPLINE, "l_max": 1}), id="allegro, spline"),
    ],
)
"""For laws that take long to test."""
