"""A configuration says what it does not understand, and what it would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shoal.errors import ConfigError
from shoal.training import TrainConfig, load_config

GOOD: dict[str, Any] = {
    "output": "runs/si",
    "type_names": ["Si"],
    "data": {"path": "si.xyz"},
    "model": {"cutoff": 5.0},
}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batchsize=4", r"unknown key data\.batchsize; did you mean data\.batch_size\?"),
        ("training.optimiser=adam", r"unknown key training\.optimiser; did you mean training\.optimizer\?"),
        ("training.schedule.patiance=3", r"training\.schedule\.patiance; did you mean training\.schedule\.patience\?"),
        ("model.num_layer=3", r"unknown key model\.num_layer; did you mean model\.num_layers\?"),
        ("model.architectur=nequip", r"did you mean model\.architecture\?"),
        ("learning_rate=0.1", r"unknown key learning_rate; did you mean training\.learning_rate\?"),
        ("type_name=[Si]", r"unknown key type_name; did you mean type_names\?"),
        ("data.zzz=1", r"unknown key data\.zzz; here are known: path, fractions"),
    ],
)
def test_an_unknown_key_is_named_in_full_with_the_nearest_valid_one(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(GOOD, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rate=-1", r"training\.learning_rate: should be greater than 0, got -1"),
        ("training.max_epochs=ten", r"training\.max_epochs: should be a valid integer.*got 'ten'"),
        ("training.schedule=cos", r"training\.schedule\.name: should be 'plateau', 'cosine' or 'none', got 'cos'"),
        ("training.max_time=5 minutes", r"training\.max_time: .*got '5 minutes'"),
        ("training.max_time='1:2'", r'training\.max_time: expected "HH:MM:SS" or seconds'),
        ("training.loss={energy: 0, forces: 0}", r"training\.loss: at least one weight must be positive"),
        ("model.cutoff=-5", r"model\.cutoff: should be greater than 0, got -5"),
        ("model.architecture=schnet", r"model\.architecture: unknown architecture 'schnet'; there are nequip"),
        ("model.type_names=[Si]", r"model: type_names belongs at the top"),
        ("data={}", r"data: give path \(split by fractions\), or both train and val"),
        ("data.train=a.xyz", r"data: give either path .* or train and val .*, not both"),
        ("data.fractions.train=0.95", r"data\.fractions: train \+ val \+ test must not exceed 1"),
        ("reference_energies={Ge: 1.0}", r"reference_energies are given for Ge; the types are Si"),
        ("chemical_species_to_atom_type_map=false", r"chemical_species_to_atom_type_map: .*got False"),
        ("type_names=[a b]", r"type name 'a b' must be one word"),
        ("output=", r"output: should be a valid string"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_came(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(GOOD, [override])


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"output": "x", "model": {"cutoff": 0}, "traning": {}})
    assert len(str(caught.value).splitlines()) == 4
    for said in ("type_names is required", "data is required", "model.cutoff", "did you mean training?"):
        assert said in str(caught.value)


def test_overrides_replace_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "output: runs/si\ntype_names: [Si]\ndata: {path: si.xyz, batch_size: 2}\nmodel: {cutoff: 5}\n"
        "training: {learning_rate: 1e-3, max_time: 00:02:00, schedule: {name: cosine, min_learning_rate: 1e-5}}\n"
    )
    config = load_config(path, ["data.batch_size=8", "training.loss.stress=10", "model.num_features=[8, 4]"])
    assert config.data.batch_size == 8
    assert config.data.path == ("si.xyz",)
    assert config.training.learning_rate == 1e-3
    assert config.training.max_time == 120
    assert (config.training.schedule.name, config.training.schedule.min_learning_rate) == ("cosine", 1e-5)
    assert config.training.loss.stress == 10
    assert config.model.settings["num_features"] == [8, 4]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batch_size", "expected key=value"),
        ("data.path.x=1", "data.path is 'si.xyz', not a section"),
        ("data.path=[", "its value is no YAML"),
    ],
)
def test_an_override_that_cannot_be_applied_is_quoted(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(GOOD, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.zbl=true", None),
        ("model.zbl={species: {Si: Ge}, polynomial_cutoff_p: 5}", None),
        ("model.per_edge_type_cutoff={Si: 4.0}", None),
        ("model.mean_neighbors={Si: 4.0}", None),
        ("model.zbl={species: {Ge: Ge}}", r"zbl\.species has types \['Ge'\], the model has \['Si'\]"),
        ("model.zbl={speces: {Si: Si}}", r"unknown key model\.zbl\.speces"),
        ("model.per_edge_type_cutoff={Ge: 4.0}", r"per_edge_type_cutoff: unknown type 'Ge'; there are \('Si',\)"),
        ("model.mean_neighbors={Ge: 4.0}", r"mean_neighbors has types \['Ge'\], the model has \['Si'\]"),
    ],
)
def test_settings_of_a_model_that_name_types_are_held_against_the_types(override: str, message: str | None) -> None:
    if message is None:
        load_config(GOOD, [override])
    else:
        with pytest.raises(ConfigError, match=message):
            load_config(GOOD, [override])


@pytest.mark.parametrize(("text", "message"), [(None, "no such file"), ("a: [", "no readable YAML"), ("3", "mapping")])
def test_a_file_that_holds_no_configuration_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "broken.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"broken\.yaml: .*{message}"):
        load_config(path)


def test_what_a_configuration_writes_it_reads_again() -> None:
    config = load_config(GOOD, ["training.max_time=90", "training.schedule=none", "data.max_edges=1000"])
    assert load_config(config.model_dump(mode="json")) == config
    assert load_config(config) == config
    assert isinstance(config, TrainConfig)


@pytest.mark.parametrize("schedule", ["{name: plateau, over: time}", "{name: cosine, over: time}"])
def test_a_schedule_over_the_time_needs_a_cosine_and_a_limit(schedule: str) -> None:
    with pytest.raises(ConfigError, match=r"training: schedule\.over=time needs schedule\.name=cosine and max_time"):
        load_config(GOOD, [f"training.schedule={schedule}"])
