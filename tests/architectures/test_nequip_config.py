"""A NequIP configuration says what is wrong with it, and survives JSON."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from shoal.architectures import ARCHITECTURES, NequIP, NequIPConfig, build
from shoal.errors import ConfigError

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


def test_every_field_is_described() -> None:
    assert all(field.description for field in NequIPConfig.model_fields.values())


def test_equal_neighbours_per_type_are_one_number() -> None:
    one, per_type = (build("nequip", {**MINIMAL, "mean_neighbors": value}) for value in (7.0, [7.0, 7.0]))
    vectors = torch.tensor([[1.5, 0.2, 0.0], [-1.5, -0.2, 0.0]], dtype=torch.float64)
    arguments = (vectors, torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1]))
    assert torch.equal(one(*arguments), per_type(*arguments))
