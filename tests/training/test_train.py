"""Training learns, keeps what it learned, tells how it goes and leaves the process as it found it."""

from __future__ import annotations

import csv
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from tests.training.conftest import DRAW, drawn

from shoal.deploy import package
from shoal.errors import ConfigError, ShoalError
from shoal.files import read_checkpoint
from shoal.io import atoms_to_state, read
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.training import TrainingProgress, load_config, train
from shoal.training.samples import read_data

Config = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def trained(argon_file: Path, tmp_path_factory: pytest.TempPathFactory):
    """Sixty epochs on Lennard-Jones argon, with everything it reported."""
    told: list[TrainingProgress] = []
    config: dict[str, Any] = {
        "output": str(tmp_path_factory.mktemp("trained") / "run"),
        "type_names": ["Ar"],
        "data": {"path": str(argon_file), "fractions": {"train": 0.7, "val": 0.2, "test": 0.1}, "batch_size": 4},
        "model": {"cutoff": 4.8, "num_layers": 1, "l_max": 1, "num_features": 8, "radial_mlp_width": 16},
        "training": {"max_epochs": 60, "learning_rate": 0.02, "loss": {"stress": 10.0}, "schedule": "cosine"},
    }
    with drawn():
        result = train(config, progress=told.append)
    return result, told


def test_it_learns_a_lennard_jones_crystal(trained) -> None:
    """Forces to a tenth of their size, the loss to a tenth of what it was after the first epoch."""
    result, _ = trained
    assert result.history[-1]["val_loss"] < 0.1 * result.history[0]["val_loss"]
    scale = 1000 * read_checkpoint(result.best).statistics["energy_scales"]["Ar"]
    assert result.metrics["val"]["forces_rmse"] < 0.1 * scale
    assert result.metrics["test"]["forces_rmse"] < 0.1 * scale


def test_the_package_of_the_best_checkpoint_has_the_errors_that_were_reported(trained, argon_file: Path) -> None:
    """Found on ASE's structures, with the package's averaged weights."""
    result, _ = trained
    checkpoint = read_checkpoint(result.best)
    best = min(result.history, key=lambda row: row["val_loss"])
    assert checkpoint.provenance["validation"]["forces_rmse"] == best["val_forces_rmse"]
    potential = LearnedPotential.from_package(package(result.best, result.output / "argon.shoal"))
    settings = load_config(checkpoint.raw["config"])
    validation = read_data(settings.data, potential.type_map(), potential.cutoff).val
    frames = {float(sample.energy): sample for sample in validation}
    errors = []
    for atoms in read(argon_file):
        if atoms.get_potential_energy() in frames:
            state = atoms_to_state(atoms)
            forces = potential(state, neighbor_list(state, potential.cutoff), ("forces",))["forces"]
            errors.append(forces.numpy() - atoms.get_forces())
    assert len(errors) == len(validation) == 6
    rmse = 1000 * np.sqrt(np.mean(np.square(np.concatenate(errors))))
    assert rmse == pytest.approx(result.metrics["val"]["forces_rmse"], rel=1e-5)
    assert rmse == pytest.approx(best["val_forces_rmse"], rel=1e-5)


def test_progress_tells_every_batch_and_the_validation_of_every_epoch(trained) -> None:
    result, told = trained
    assert [now.step for now in told] == list(range(1, len(told) + 1))
    ends = [now for now in told if now.batch == now.n_batches]
    assert [now.epoch for now in ends] == list(range(1, 61))
    assert [now.validation["forces_rmse"] for now in ends] == [row["val_forces_rmse"] for row in result.history]
    assert ends[-1].best["forces_rmse"] == min(result.history, key=lambda row: row["val_loss"])["val_forces_rmse"]
    assert ends[-1].remaining == 0
    assert 0 < ends[10].remaining < 1000
    assert ends[-1].learning_rate < 0.01 * ends[0].learning_rate


def test_logs_and_plots_are_written(trained) -> None:
    result, _ = trained
    with open(result.output / "history.csv", newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert rows == result.history
    assert list((result.output / "tensorboard").iterdir())
    assert set(result.plots) == {"learning_curve", "parity_val", "parity_test"}
    for path in result.plots.values():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_checkpoints_hold_tensors_and_plain_values_only(trained) -> None:
    result, _ = trained
    for path in (result.best, result.last):
        raw = torch.load(path, weights_only=True)
        assert raw["config"]["model"]["num_features"] == 8
        assert raw["type_names"] == ["Ar"]
        assert raw["provenance"]["data"]["n_train"] == 19


@pytest.mark.usefixtures("two_threads")
def test_the_process_is_left_as_it_was(tiny_config: Config) -> None:
    def state() -> dict[str, Any]:
        return {
            "dtype": torch.get_default_dtype(),
            "torch": torch.get_rng_state().tolist(),
            "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
            "random": random.getstate(),
            "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "grad": torch.is_grad_enabled(),
            "matmul": torch.get_float32_matmul_precision(),
            "benchmark": torch.backends.cudnn.benchmark,
            "filters": list(warnings.filters),
            "handlers": list(logging.getLogger().handlers),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
        }

    before = state()
    with torch.no_grad():
        train(tiny_config(max_epochs=1, logs=["csv", "tensorboard"]))
        assert not torch.is_grad_enabled()
    assert state() == before


def test_nothing_is_printed_without_progress(tiny_config: Config, capfd: pytest.CaptureFixture[str]) -> None:
    train(tiny_config(max_epochs=1), progress=False)
    assert capfd.readouterr() == ("", "")


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    tiny_config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config(max_epochs=2, progress=True))
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/2: validation RMSE energy" in err
    assert "meV/A; learning rate 0.01" in err


def test_types_that_are_no_elements_train_and_pack(
    argon: Callable[..., Atoms], tiny_config: Config, tmp_path: Path
) -> None:
    frames = [argon(seed, symbols="ArKr3ArKr3") for seed in range(10)]
    for atoms in frames[::2]:
        atoms.set_array("type_label", np.array(["wall", *["heavy"] * 3, "light", *["heavy"] * 3]))
    config = tiny_config(max_epochs=1)
    config["data"]["path"] = str(tmp_path / "mixed.xyz")
    ase.io.write(config["data"]["path"], frames)
    config["type_names"] = ["light", "heavy", "wall"]
    config["chemical_species_to_atom_type_map"] = {"Ar": "light", "Kr": "heavy"}
    config["reference_energies"] = {"light": -1.0, "heavy": -2.0, "wall": -3.0}
    result = train(config)
    checkpoint = read_checkpoint(result.best)
    assert checkpoint.species_map == {"Ar": "light", "Kr": "heavy"}
    n_atoms = checkpoint.statistics["n_atoms"]
    assert n_atoms["light"] + n_atoms["wall"] == 14
    assert n_atoms["wall"] > 0
    types = [frame["atom_types"].tolist() for frame in checkpoint.reference_structures]
    assert all(row in ([2, 1, 1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 0, 1, 1, 1]) for row in types)
    potential = LearnedPotential.from_package(package(result.best, tmp_path / "mixed.shoal"))
    state = atoms_to_state(frames[0])
    energy = potential(state, neighbor_list(state, potential.cutoff), ("energy",))["energy"]
    assert float(energy) == pytest.approx(-1 - 6 * 2 - 3, abs=20)
    assert potential.type_names == ("light", "heavy", "wall")


def test_early_stopping_counts_epochs_without_a_better_loss(tiny_config: Config) -> None:
    result = train(tiny_config(max_epochs=50, learning_rate=1e-12, early_stopping_patience=3, ema_decay=0.0))
    best = min(result.history, key=lambda row: row["val_loss"])
    assert result.stopped_by == "early_stopping"
    assert len(result.history) - best["epoch"] == 3


def test_the_plateau_lowers_the_learning_rate_when_the_loss_stays(tiny_config: Config) -> None:
    schedule = {"name": "plateau", "patience": 1, "factor": 0.1, "min_learning_rate": 1e-16}
    result = train(tiny_config(max_epochs=6, learning_rate=1e-12, ema_decay=0.0, schedule=schedule))
    rates = [row["learning_rate"] for row in result.history]
    assert rates[0] == 1e-12
    assert rates[-1] == pytest.approx(1e-14)


def test_clipping_bounds_the_gradients_that_the_optimizer_sees(tiny_config: Config) -> None:
    free, clipped = (
        train(tiny_config(f"run{k}", max_epochs=1, gradient_clip=clip)) for k, clip in enumerate((None, 1e-6))
    )
    moments = [
        torch.load(result.last, weights_only=True)["training"]["optimizer"]["state"] for result in (free, clipped)
    ]
    norms = [max(float(state["exp_avg"].norm()) for state in states.values()) for states in moments]
    assert norms[1] <= 1e-6 < norms[0]


def test_a_run_that_diverges_says_so(tiny_config: Config) -> None:
    with pytest.raises(ShoalError, match=r"training diverged in epoch \d+.*Lower training\.learning_rate"):
        train(tiny_config(max_epochs=40, learning_rate=1e30))


def test_a_missing_gpu_is_named(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"training\.device is cuda, but torch sees no CUDA device"):
        train(tiny_config(device="cuda"))


def test_batches_bounded_by_edges_learn_the_same_data(tiny_config: Config) -> None:
    config = tiny_config(max_epochs=1)
    config["data"].update(batch_size=1000, max_edges=300)
    steps = train(config).history[0]["step"]
    assert 5 < steps < 19


@pytest.mark.parametrize(("given", "expected"), [({}, None), ({"mean_neighbors": 7.5}, 7.5)])
def test_mean_neighbors_are_the_datas_unless_they_are_given(
    tiny_config: Config, given: dict[str, float], expected: float | None
) -> None:
    config = tiny_config(max_epochs=1)
    config["model"].update(given)
    checkpoint = read_checkpoint(train(config).last)
    found = checkpoint.statistics["mean_neighbors"]
    assert found > 10
    assert checkpoint.config["mean_neighbors"] == (found if expected is None else expected)


def test_without_matplotlib_a_training_ends_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shoal.errors import ShoalWarning

    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.warns(ShoalWarning, match="no plots: they need matplotlib"):
        assert DRAW([{"epoch": 1, "learning_rate": 0.1, "val_energy_rmse": 1.0}], {}, tmp_path) == {}
