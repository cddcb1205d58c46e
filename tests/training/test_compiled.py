"""A compiled training step is the step that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from tests.training.conftest import CUTOFF

from shoal.architectures import AtomicEnergyModel, build
from shoal.errors import ShoalWarning
from shoal.files import read_checkpoint
from shoal.io import LabelKeys
from shoal.state import TypeMap
from shoal.testing import close
from shoal.training import session as sessions
from shoal.training import train
from shoal.training.batches import Batch, collate
from shoal.training.compiled import CompiledPredict
from shoal.training.losses import residuals
from shoal.training.predict import predict
from shoal.training.samples import make_samples

Argon = Callable[..., Atoms]
Config = Callable[..., dict[str, Any]]
SHARED = {"cutoff": CUTOFF, "type_names": ["Ar", "Kr"], "mean_neighbors": 12.0, "model_dtype": "float64"}
MODELS: dict[str, dict[str, Any]] = {
    "nequip": {
        **SHARED,
        "num_layers": 2,
        "l_max": 2,
        "num_features": 3,
        "radial_mlp_width": 6,
        "bessel_trainable": True,
        "scales_trainable": True,
        "per_edge_type_cutoff": {"Ar": 4.0},
    },
    "allegro": {**SHARED, "num_layers": 2, "l_max": 1, "num_scalar_features": 8, "num_tensor_features": 3},
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> tuple[AtomicEnergyModel, CompiledPredict]:
    model = build(request.param, MODELS[request.param])
    return model, CompiledPredict(model, request.param, torch.device("cpu"))


@pytest.fixture(scope="module")
def batches(argon: Argon) -> dict[str, Batch]:
    """Of one and of many structures, and one without a single edge."""
    frames = [argon(k, symbols="Ar2KrAr" if k % 2 else "Ar4", repeat=(1, 1, 1)) for k in range(5)]
    samples = make_samples(frames, TypeMap(("Ar", "Kr"), {"Ar": "Ar", "Kr": "Kr"}), CUTOFF, LabelKeys())
    lone = argon(9, symbols="Ar4", repeat=(1, 1, 1))
    del lone[1:]
    lone.pbc = False
    lone.calc = None
    lone.info["energy"] = 0.5
    alone = make_samples([lone], TypeMap(("Ar", "Kr"), {"Ar": "Ar"}), CUTOFF, LabelKeys())
    return {"one": collate(samples[:1]), "many": collate(samples), "an atom alone": collate(alone)}


def gradients(model: AtomicEnergyModel, values: dict[str, torch.Tensor], batch: Batch) -> list[torch.Tensor]:
    residual = residuals(values, batch)
    loss = residual.energy.square().sum() + residual.forces.square().sum() + residual.stress.square().sum()
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [g if g is not None else torch.zeros(1, dtype=torch.float64) for g in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["many", "one", "an atom alone"])
def test_predictions_and_gradients_of_the_loss_are_those_of_the_eager_step(
    pair: tuple[AtomicEnergyModel, CompiledPredict], batches: dict[str, Batch], name: str
) -> None:
    model, compiled = pair
    batch = batches[name]
    eager, fast = (step(batch, create_graph=True) for step in (lambda *a, **k: predict(model, *a, **k), compiled))
    assert set(fast) == set(eager)
    assert ("virial" in fast) == (name != "an atom alone")
    for quantity in fast:
        close(fast[quantity].detach(), eager[quantity].detach(), 1e-10)
    for a, b in zip(gradients(model, fast, batch), gradients(model, eager, batch), strict=True):
        close(a, b, 1e-10)


@pytest.mark.slow
def test_other_weights_than_the_models_are_taken(
    pair: tuple[AtomicEnergyModel, CompiledPredict], batches: dict[str, Batch]
) -> None:
    """As validation does with averaged weights; nothing that depends on them is kept in the graph."""
    model, compiled = pair
    weights = {name: value.detach() * 1.1 for name, value in model.named_parameters()}
    values = compiled(batches["many"], weights)
    expected = predict(model, batches["many"], weights)
    assert not values["forces"].requires_grad
    for quantity in ("energy", "forces", "virial"):
        close(values[quantity], expected[quantity].detach(), 1e-10)
    assert (expected["forces"] - predict(model, batches["many"])["forces"]).abs().max() > 1e-6


@pytest.mark.slow
def test_one_graph_serves_batches_of_all_sizes_training_and_validation(
    pair: tuple[AtomicEnergyModel, CompiledPredict], batches: dict[str, Batch]
) -> None:
    """A graph that held for some of them only would be compiled again and again, and given up in the end."""
    model, compiled = pair
    counters = torch._dynamo.utils.counters
    before = counters["stats"]["unique_graphs"]
    for scale in (1.0, 1.1, 1.2):
        weights = {name: value.detach() * scale for name, value in model.named_parameters()}
        for batch in batches.values():
            with torch.no_grad():
                compiled(batch, weights)
            gradients(model, compiled(batch, create_graph=True), batch)
    assert counters["stats"]["unique_graphs"] == before


@pytest.mark.slow
def test_a_compiled_run_is_the_eager_run_and_resumes_like_the_uninterrupted_one(
    tiny_config: Config, tmp_path: Path
) -> None:
    double = {"model_dtype": "float64"}

    def run(name: str, resume: bool = False, **training: Any) -> dict[str, Any]:
        config = tiny_config(**training)
        config = {**config, "output": str(tmp_path / name), "model": {**config["model"], **double}}
        result = train(config, progress=False, resume=True if resume else None)
        return dict(read_checkpoint(result.last).raw)

    eager = run("eager", max_epochs=4, compile=False)
    compiled = run("compiled", max_epochs=4, compile=True)
    assert (eager["training"]["compiled"], compiled["training"]["compiled"]) == (False, True)
    for a, b in zip(eager["training"]["history"], compiled["training"]["history"], strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-9)
        assert b["val_loss"] == pytest.approx(a["val_loss"], rel=1e-9)

    run("parts", max_epochs=2, compile=True)
    parts = run("parts", resume=True, max_epochs=4, compile=True)
    for name, weight in compiled["weights"].items():
        assert torch.equal(parts["weights"][name], weight), name


def test_where_compiling_fails_training_goes_on_and_says_why(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: Any) -> None:
        raise RuntimeError("no working C++ compiler was found")

    monkeypatch.setattr(sessions, "CompiledPredict", no_compiler)
    with pytest.warns(ShoalWarning, match="not compiled, training goes on without: no working C"):
        result = train(tiny_config(compile=True), progress=False)
    assert read_checkpoint(result.last).raw["training"]["compiled"] is False


def test_only_long_runs_are_compiled_of_themselves(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(sessions, "CompiledPredict", lambda *a: asked.append(a) or predict)
    train(tiny_config(), progress=False)
    assert not asked
    with pytest.raises(TypeError):  # the stand-in is no compiled step: it was asked for, that is all
        train({**tiny_config(max_epochs=100_000, early_stopping_patience=1), "overwrite": True}, progress=False)
    assert len(asked) == 1
