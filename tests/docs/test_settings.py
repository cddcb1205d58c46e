"""The manual names every setting of a training and of a model, and the presets have the sizes it says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from shoal.architectures import ARCHITECTURES
from shoal.architectures.nequip import PRESETS
from shoal.training.config import ModelConfig, TrainConfig

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str) -> set[str]:
    """Words in code type, a dotted key's last part among them."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


def keys(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not ModelConfig:
            yield from keys(kind)


def test_every_key_of_a_training() -> None:
    # their parts are shown in the example of the page
    shown = {"energy", "forces", "stress", "train", "val", "test"}
    assert set(keys(TrainConfig)) - named("training.md") - shown == set()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_setting_of_a_model(architecture: str) -> None:
    assert set(keys(ARCHITECTURES[architecture].config)) - named("models.md") == set()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_as_they_are(name: str) -> None:
    preset = PRESETS[name]
    features = ", ".join(map(str, preset["num_features"]))
    assert f"| {name} | {preset['num_layers']} | {preset['l_max']} | {features} |" in (DOCS / "models.md").read_text()
    shared = {key: preset[key] for key in preset if key not in ("num_layers", "l_max", "num_features")}
    text = " ".join((DOCS / "models.md").read_text().split())
    assert all(f"`{key}: {str(value).lower()}`" in text for key, value in shared.items())
