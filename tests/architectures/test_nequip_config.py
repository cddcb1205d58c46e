"""A NequIP configuration says what is wrong with it, and survives JSON."""

from math import prod
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from shoal.architectures import ARCHITECTURES, NequIP, NequIPConfig, build
from shoal.architectures.nequip import PRESETS
from shoal.errors import ConfigError
from shoal.integrations.nequip.weights import flat_shapes
from shoal.training.load_config import load_config

MINIMAL: dict[str, Any] = {"cutoff": 4.0, "type_names": ["H", "O_water"], "mean_neighbors": 10}


def test_minimal_configuration_builds() -> None:
    nequip = build("nequip", MINIMAL)
    assert isinstance(nequip, NequIP)
    assert isinstance(nequip.config, ARCHITECTURES["nequip"].config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cutof": 4.0}, "cutof"),
        ({"cutoff": 0.0}, "greater than 0"),
        ({"type_names": []}, "type_names"),
        ({"type_names": ["H", "H"]}, "'H' appears twice"),
        ({"type_names": ["H", "O w"]}, "'O w' must be one word"),
        ({"l_max": 5}, "less than or equal to 4"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_features": [8, 4, 2]}, "3 entries for the 2 degrees"),
        ({"num_features": [8, 0]}, "at least 1"),
        ({"mean_neighbors": [1.0, 2.0, 3.0]}, "3 entries for 2 types"),
        ({"mean_neighbors": [1.0, 0.0]}, "must be positive"),
        ({"mean_neighbors": float("nan")}, "must be positive"),
        ({"mean_neighbors": {"H": 3.0, "O": 4.0}}, "O_water"),
        ({"model_dtype": "float16"}, "float32"),
        ({"polynomial_cutoff_p": 1}, "greater than or equal to 2"),
        ({"preset": "XS"}, "'S', 'M', 'L' or 'XL'"),
        ({"preset": "S", "l_max": 2}, "2 entries for the 3 degrees"),
        ({"nonlinearity": "relu"}, "'gate' or 'norm'"),
        ({"readout_mlp_nonlinearity": "tanh"}, "'silu', 'mish' or 'gelu'"),
        ({"readout_mlp_depth": -1}, "readout_mlp_depth"),
        ({"readout_mlp_width": 0}, "readout_mlp_width"),
        ({"per_edge_type_cutoff": {"H": 4.5}}, "H is 4.5 A; it must be positive and at most the cutoff 4.0 A"),
        ({"per_edge_type_cutoff": {"H": {"O_water": 0.0}}}, "H is 0.0 A; it must be positive"),
        ({"per_edge_type_cutoff": {"C": 3.0}}, "unknown type 'C'"),
        ({"per_edge_type_cutoff": {"H": {"C": 3.0}}}, "unknown type 'C'"),
        ({"zbl": True}, "type 'O_water' has no chemical symbol"),
        ({"zbl": {"species": {"H": "H"}}}, "zbl.species has types"),
        ({"zbl": {"species": {"H": "H", "O_water": "Ox"}}}, "'O_water' has no chemical symbol"),
        ({"zbl": {"species": {"H": "H", "O_water": "O"}, "polynomial_cutoff_p": 1}}, "polynomial_cutoff_p"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build("nequip", {**MINIMAL, **changes})


@pytest.mark.parametrize("missing", list(MINIMAL))
def test_required_fields(missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        build("nequip", {name: value for name, value in MINIMAL.items() if name != missing})


def test_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="known: nequip"):
        build("nequipp", MINIMAL)


def test_neighbours_by_name_follow_the_order_of_types() -> None:
    config = NequIPConfig(**{**MINIMAL, "mean_neighbors": {"O_water": 2.0, "H": 9.0}})
    assert config.neighbors_by_type == (9.0, 2.0)


def test_frozen() -> None:
    config = NequIPConfig(**MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.cutoff = 5.0  # type: ignore[misc]


def test_json_round_trip() -> None:
    config = NequIPConfig(**{**MINIMAL, "num_features": [8, 4], "mean_neighbors": [3.5, 4.0]})
    assert NequIPConfig.model_validate_json(config.model_dump_json()) == config


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    def test_a_preset_builds_and_evaluates(self, name: str) -> None:
        nequip = build("nequip", {**MINIMAL, "preset": name})
        vectors = torch.tensor([[1.5, 0.2, 0.0], [-1.5, -0.2, 0.0]], dtype=torch.float64)
        energy = nequip(vectors, torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1]))
        assert (energy != 0).all()
        assert energy.isfinite().all()

    @pytest.mark.parametrize(
        ("name", "n_weights"), [("S", 613_568), ("M", 3_186_880), ("L", 6_833_344), ("XL", 32_133_504)]
    )
    def test_sizes_are_those_of_nequip(self, name: str, n_weights: int) -> None:
        """Counted in nequip 0.19.1 for two types; ours leaves out what cannot reach an energy."""
        config = NequIPConfig(**MINIMAL, preset=name)
        assert sum(prod(shape) for shape in flat_shapes(config).values()) == n_weights

    def test_what_is_given_beside_it_holds(self) -> None:
        config = NequIPConfig(**MINIMAL, preset="M", num_layers=3, parity=True)
        assert (config.num_layers, config.parity, config.l_max) == (3, True, 2)
        assert config.num_features == (128, 64, 32)

    def test_the_stored_configuration_holds_its_figures_and_not_its_name(self) -> None:
        config = NequIPConfig(**MINIMAL, preset="L", parity=True)
        stored = config.model_dump(mode="json")
        assert "preset" not in stored
        assert (stored["num_layers"], stored["l_max"], stored["type_embedding_size"]) == (6, 3, 32)
        assert NequIPConfig(**stored) == config
        assert NequIPConfig(**{**MINIMAL, **config.model_dump(exclude_defaults=True)}) == config

    def test_from_a_training_file(self) -> None:
        model = {"preset": "S", "cutoff": 4.0, "radial_mlp_width": 64}
        config = load_config({"output": "o", "type_names": ["H"], "data": {"path": "x.xyz"}, "model": model})
        built = config.model.build(config.type_names)
        expected = NequIPConfig(cutoff=4.0, type_names=("H",), mean_neighbors=1.0, preset="S", radial_mlp_width=64)
        assert built == expected
        assert expected.num_features == (128, 64)


def test_cutoffs_by_types_have_the_cutoff_where_nothing_is_said() -> None:
    given = {"H": 2.5, "O_water": {"H": 3.0}}
    config = NequIPConfig(**{**MINIMAL, "per_edge_type_cutoff": given})
    assert config.cutoffs_by_types == [[2.5, 2.5], [3.0, 4.0]]
    assert NequIPConfig.model_validate_json(config.model_dump_json()) == config


def test_every_field_is_described() -> None:
    assert all(field.description for field in NequIPConfig.model_fields.values())


def test_equal_neighbours_per_type_are_one_number() -> None:
    one, per_type = (build("nequip", {**MINIMAL, "mean_neighbors": value}) for value in (7.0, [7.0, 7.0]))
    vectors = torch.tensor([[1.5, 0.2, 0.0], [-1.5, -0.2, 0.0]], dtype=torch.float64)
    arguments = (vectors, torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1]))
    assert torch.equal(one(*arguments), per_type(*arguments))


def test_what_atoms_can_reach_follows_from_the_largest_cutoff_of_a_pair() -> None:
    config = NequIPConfig(
        cutoff=5.0, type_names=("A", "B"), mean_neighbors=1.0, num_layers=2,
        per_edge_type_cutoff={"A": 3.0, "B": {"A": 2.0, "B": 4.0}},
    )  # fmt: skip
    assert config.reach == 4.0
    assert NequIP(config).interaction_range == 8.0
    assert NequIPConfig(cutoff=5.0, type_names=("A",), mean_neighbors=1.0).reach == 5.0


def test_none_is_a_word_for_no_nonlinearity() -> None:
    config = NequIPConfig(cutoff=5.0, type_names=("A",), mean_neighbors=1.0, readout_mlp_nonlinearity="none")
    assert config.readout_mlp_nonlinearity is None
