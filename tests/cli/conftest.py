"""How the tests of the command line call it, and a checkpoint to call it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from shoal.cli import app
from shoal.potentials import LearnedPotential


@pytest.fixture
def shoal_cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `shoal ARGUMENTS` in this process on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def checkpoint(silicon: LearnedPotential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the untrained silicon model, laid out as in `shoal.files.checkpoint`."""
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    frame = {
        "positions": torch.tensor([[0.0, 0.0, 0.0], [1.3, 1.4, 1.35]], dtype=torch.float64),
        "cell": torch.tensor([[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]], dtype=torch.float64),
        "pbc": torch.ones(3, dtype=torch.bool),
        "atomic_numbers": torch.tensor([14, 14]),
        "atom_types": torch.tensor([0, 0]),
    }
    weights = silicon.model.state_dict()
    torch.save(
        {
            "shoal_checkpoint": 1,
            "architecture": "nequip",
            "model_config": silicon.spec.config,
            "type_names": ["Si"],
            "chemical_species_to_atom_type_map": {"Si": "Si"},
            "weights": weights,
            "averaged_weights": {name: value.clone() for name, value in weights.items()},
            "statistics": {"mean_neighbors": 12.0},
            "provenance": {"data": "two.xyz"},
            "reference_structures": [frame],
            "config": {},
            "training": {},
        },
        path,
    )
    return path
