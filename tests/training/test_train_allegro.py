"""Allegro the whole way: trained, packed, described, compiled, evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import CUTOFF

from shoal.deploy import compile_model, package
from shoal.engine import load
from shoal.files import describe, read_checkpoint
from shoal.io import atoms_to_state, read
from shoal.testing import close
from shoal.training import TrainResult, train

MODEL: dict[str, Any] = {
    "architecture": "allegro",
    "cutoff": CUTOFF,
    "num_layers": 1,
    "l_max": 1,
    "num_scalar_features": 16,
    "num_tensor_features": 4,
    "scalar_embed_mlp_width": 16,
    "allegro_mlp_width": 16,
    "readout_mlp_width": 8,
}


@pytest.fixture(scope="module")
def trained(argon_file: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    config: dict[str, Any] = {
        "output": str(tmp_path_factory.mktemp("allegro") / "run"),
        "type_names": ["Ar"],
        "data": {"path": str(argon_file), "fractions": {"train": 0.7, "val": 0.2, "test": 0.1}, "batch_size": 4},
        "model": MODEL,
        "training": {
            "max_epochs": 30,
            "learning_rate": 0.02,
            "loss": {"stress": 10.0},
            "schedule": "cosine",
            "progress": False,
        },
    }
    return train(config)


@pytest.fixture(scope="module")
def packed(trained: TrainResult) -> Path:
    return package(trained.best, trained.output / "argon.shoal")


def test_it_learns_a_lennard_jones_crystal(trained: TrainResult) -> None:
    assert trained.history[-1]["val_loss"] < 0.1 * trained.history[0]["val_loss"]
    scale = 1000 * read_checkpoint(trained.best).statistics["energy_scales"]["Ar"]
    assert trained.metrics["test"]["forces_rmse"] < 0.1 * scale


def test_it_is_described_by_its_name_and_settings(trained: TrainResult, packed: Path) -> None:
    for path in (trained.best, packed):
        shown = str(describe(path))
        assert "allegro" in shown
        assert "num_tensor_features" in shown


def test_its_range_is_one_cutoff_and_its_energies_strictly_local(packed: Path) -> None:
    capabilities = load(packed).capabilities
    assert (capabilities.interaction_range, capabilities.strictly_local) == (CUTOFF, True)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("torchscript", ".shoal.pth"), pytest.param("aotinductor", ".shoal.pt2", marks=pytest.mark.slow)],
)
def test_its_compiled_file_gives_its_numbers(packed: Path, argon_file: Path, mode: str, ending: str) -> None:
    out = packed.with_name("argon" + ending)
    compile_model(packed, out, mode=mode)
    state = atoms_to_state([atoms for _, atoms in zip(range(3), read(argon_file), strict=False)])
    outputs = ("energy", "atomic_energy", "forces", "stress", "virial")
    eager, compiled = (load(path)(state, outputs) for path in (packed, out))
    for name in outputs:
        close(compiled[name], eager[name], 5e-5)
    assert eager["forces"].abs().max() > 0.1
    no_neighbors = atoms_to_state(next(iter(read(argon_file)))[:1])
    close(load(out)(no_neighbors)["energy"], load(packed)(no_neighbors)["energy"], 1e-12)
