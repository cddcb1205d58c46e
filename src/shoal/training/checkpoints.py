"""Writing checkpoints so that a file is whole or not there, and what a resumed run must have in common with them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from shoal.atomic import write_atomically
from shoal.errors import ConfigError
from shoal.training.config import TrainConfig

LAST = "last.ckpt"
BEST = "best.ckpt"

BEFORE = {"compiled": False, "convolution": "reference"}
"""What runs had whose checkpoints do not say."""

FREE_TO_CHANGE = (
    "output",
    "overwrite",
    "resume",
    "data.path",  # the data themselves are compared
    "data.train",
    "data.val",
    "data.test",
    "training.max_epochs",
    "training.max_time",
    "training.early_stopping_patience",
    "training.progress",
    "training.logs",
    "training.device",
)


def write_checkpoint(content: Mapping[str, Any], *paths: Path) -> None:
    """Write one checkpoint to every path: to a temporary name first, flushed, then renamed."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    for path in paths:
        write_atomically(path, buffer.getbuffer())


def found(raw: Mapping[str, Any], key: str) -> Any:
    """What a run made of a setting of `BEFORE` that was auto; `raw`: its checkpoint."""
    return raw["training"].get(key, BEFORE[key])


def check_same_training(config: TrainConfig, raw: Mapping[str, Any], path: str) -> None:
    """Refuse to resume a checkpoint with settings under which the uninterrupted run would have gone another way.

    Settings that are newer than the checkpoint were at their defaults, and what a run made of auto may be asked for by
    name. Raises ConfigError naming each key and both values.
    """
    now, then = dict(_flat(config.model_dump(mode="json"))), dict(_flat(_filled(raw["config"])))
    for setting, key in (("training.compile", "compiled"), ("training.convolution", "convolution")):
        if then.get(setting) == "auto" and now[setting] == found(raw, key):
            then[setting] = now[setting]
    free = set(FREE_TO_CHANGE)
    if config.training.schedule.name == "cosine":
        free.discard("training.max_time" if config.training.schedule.over == "time" else "training.max_epochs")
    changed = [key for key in sorted(now.keys() | then.keys()) if key not in free and now.get(key) != then.get(key)]
    if changed:
        listed = "; ".join(f"{key} is {now.get(key)!r}, was {then.get(key)!r}" for key in changed)
        raise ConfigError(f"{path} cannot be resumed with other settings: {listed}")


def _filled(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the defaults of settings that it lacks; as it is, if it is no configuration of this version."""
    try:
        return TrainConfig.model_validate(saved).model_dump(mode="json")
    except ValidationError:
        return saved


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
