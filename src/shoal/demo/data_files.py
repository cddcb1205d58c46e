"""The shipped frames, laid out as a training expects them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.io import read

if TYPE_CHECKING:
    from ase import Atoms

EVERY = 6  # each stretch of the file holds all families in their shares, so every sixth frame is a fair sample


@dataclass(frozen=True)
class Data:
    """Labelled frames: 100 to train on, 20 held out, 30 volumes of the perfect crystal, and where they were written."""

    train: list[Atoms]
    validation: list[Atoms]
    volumes: list[Atoms]
    train_file: Path
    validation_file: Path


def prepare(out: Path) -> Data:
    """Write `data/train.xyz` and `data/validation.xyz` under `out`, and read the equation of state."""
    from ase.io import write

    frames, volumes = shipped("silicon.xyz"), shipped("silicon_eos.xyz")
    parts = {
        "train": [atoms for k, atoms in enumerate(frames) if k % EVERY],
        "validation": frames[::EVERY],
    }
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.xyz" for name in parts}
    for name, part in parts.items():
        write(paths[name], part, format="extxyz")
    return Data(parts["train"], parts["validation"], volumes, paths["train"], paths["validation"])


def shipped(name: str) -> list[Atoms]:
    """The structures of a file in `shoal/demo/data`."""
    with as_file(files("shoal.demo") / "data" / name) as path:
        return list(read(path))
