"""Small labelled crystals, and a configuration that learns them in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from shoal.training import run

CUTOFF = 4.8  # of the labels and of the models


def labelled_argon(seed: int, symbols: str = "Ar8", repeat: tuple[int, int, int] = (2, 1, 1)) -> Atoms:
    """A strained, rattled fcc cell, labelled with ASE's smooth Lennard-Jones potential."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True) * repeat
    if symbols != "Ar8":
        atoms.symbols = symbols
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.2, rc=CUTOFF, ro=3.8, smooth=True)
    values = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **values)
    return atoms


def tiny(path: Path, output: Path, **training: Any) -> dict[str, Any]:
    """A configuration that trains within a second or two."""
    return {
        "output": str(output),
        "type_names": ["Ar"],
        "data": {"path": str(path), "fractions": {"train": 0.7, "val": 0.2, "test": 0.1}, "batch_size": 4},
        "model": {
            "cutoff": CUTOFF,
            "num_layers": 2,
            "l_max": 1,
            "num_features": 4,
            "radial_mlp_depth": 1,
            "radial_mlp_width": 8,
        },
        "training": {"max_epochs": 2, "logs": ["csv"], "progress": False, **training},
    }


DRAW = run._draw


@pytest.fixture(autouse=True, scope="package")
def _undrawn() -> Iterator[None]:
    """Plots take longer than trainings as small as these; who looks at them says `with drawn()`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_draw", lambda *_: {})
        yield


@contextmanager
def drawn() -> Iterator[None]:
    """Trainings draw their plots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_draw", DRAW)
        yield


@pytest.fixture(scope="session")
def argon() -> Callable[..., Atoms]:
    return labelled_argon


@pytest.fixture(scope="session")
def argon_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of 8 atoms and 4 of 4."""
    frames = [labelled_argon(seed) for seed in range(24)]
    frames += [labelled_argon(seed, symbols="Ar4", repeat=(1, 1, 1)) for seed in range(24, 28)]
    path = tmp_path_factory.mktemp("data") / "argon.xyz"
    ase.io.write(path, frames)
    return path


@pytest.fixture
def tiny_config(argon_file: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    return lambda name="run", **training: tiny(argon_file, tmp_path / name, **training)
