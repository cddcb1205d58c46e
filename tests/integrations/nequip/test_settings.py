"""nequip's words for a model, in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integrations.nequip.train_models import MODELS, SPECIES

from shoal.architectures import build
from shoal.architectures.allegro import AllegroConfig, SplineConfig
from shoal.architectures.nequip import NequIPConfig
from shoal.errors import ModelFileError
from shoal.integrations.nequip.importing import _in_full
from shoal.integrations.nequip.settings import architecture_of, species_map


def settings(name: str, **changes: Any) -> dict[str, Any]:
    """As they stand in a file, where statistics of the data are numbers."""
    return {**MODELS[name], "avg_num_neighbors": 12.5, "per_type_energy_scales": {"copper": 1.0, "Au": 2.0}, **changes}


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_finds_its_place(name: str) -> None:
    spec = architecture_of(settings(name))
    model = build(spec.name, spec.config)
    assert model.config.type_names == ("copper", "Au")
    assert model.config.cutoff == 4.5
    assert model.config.neighbors_by_type == (12.5, 12.5)
    assert model.config.model_dtype == MODELS[name]["model_dtype"]


def test_nequip_with_everything() -> None:
    spec = architecture_of(settings("nequip"))
    config = NequIPConfig(**spec.config)
    assert spec.name == "nequip"
    assert (config.num_layers, config.l_max, config.parity, config.num_features) == (3, 2, False, (6, 4, 2))
    assert (config.readout_mlp_depth, config.readout_mlp_width, config.bessel_trainable) == (1, 5, True)
    assert config.cutoffs_by_types == [[4.0, 4.0], [3.5, 4.5]]
    assert config.zbl is not None
    assert config.atomic_numbers == [29, 79]


def test_a_preset_is_what_it_stands_for_with_what_is_given_beside_it() -> None:
    config = NequIPConfig(**architecture_of(settings("preset")).config)
    assert (config.num_layers, config.parity, config.type_embedding_size) == (2, False, 32)
    assert config.num_features == (8, 4)


def test_presets_are_named_as_upstream_does_in_either_case() -> None:
    assert NequIPConfig(**architecture_of(settings("preset", preset="s")).config).num_layers == 2


def test_a_package_gets_every_setting() -> None:
    """Not only those that were given, and no preset by its name: later defaults change nothing."""
    full = _in_full(architecture_of(settings("preset")), Path("x.ckpt")).config
    assert set(full) == set(NequIPConfig.model_fields) - {"preset"}


def test_allegro_with_splines() -> None:
    spec = architecture_of(settings("spline"))
    config = AllegroConfig(**spec.config)
    assert config.radial_embedding == SplineConfig(basis="spline", num_splines=8, spline_span=6)
    assert not config.path_channel_coupling


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"_target_": "mace.Model"}, "mace.Model"),
        ({"learnable_shift": True}, "learnable_shift"),
        ({"convnet_nonlinearity_scalars": {"e": "tanh", "o": "tanh"}}, "convnet_nonlinearity_scalars"),
        ({"pair_potential": {"_target_": "nequip.nn.pair_potential.LennardJones"}}, "LennardJones"),
        ({"brand_new": 3}, "brand_new=3"),
        ({"pair_potential": {**MODELS["nequip"]["pair_potential"], "polynomial_cutoff_p": 5.5}}, "p=5.5"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelFileError, match=named):
        architecture_of(settings("nequip", **changes))


def test_the_species_map_is_that_of_the_training_data() -> None:
    mapper = {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": ["Cu", "Au"]}
    other = {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": 5.0}
    assert species_map({"transforms": [other, mapper]}) == {"Cu": "Cu", "Au": "Au"}
    assert species_map({"transforms": [{**mapper, "chemical_species_to_atom_type_map": SPECIES}]}) == SPECIES
    assert species_map({"transforms": [other]}) is None
    assert species_map({}) is None
