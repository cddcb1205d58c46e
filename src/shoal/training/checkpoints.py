"""Writing checkpoints so that a file is whole or not there, and what a resumed run must have in common with them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from shoal.atomic import write_atomically
from shoal.errors import ConfigError
from shoal.training.config import TrainConfig

LAST = "last.ckpt"
BEST = "best.ckpt"

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


def check_same_training(config: TrainConfig, saved: Mapping[str, Any], path: str) -> None:
    """Refuse to resume with settings under which the uninterrupted run would have gone another way.

    Raises ConfigError naming each key and both values.
    """
    now, then = dict(_flat(config.model_dump(mode="json"))), dict(_flat(saved))
    free = set(FREE_TO_CHANGE)
    if config.training.schedule.name == "cosine":
        free.discard("training.max_time" if config.training.schedule.over == "time" else "training.max_epochs")
    changed = [key for key in sorted(now.keys() | then.keys()) if key not in free and now.get(key) != then.get(key)]
    if changed:
        listed = "; ".join(f"{key} is {now.get(key)!r}, was {then.get(key)!r}" for key in changed)
        raise ConfigError(f"{path} cannot be resumed with other settings: {listed}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
