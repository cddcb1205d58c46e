"""The loss counts each label once, ignores what is missing, and its gradient is that of the numbers it returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms

from shoal.architectures import NequIP, NequIPConfig
from shoal.io import LabelKeys
from shoal.state import TypeMap
from shoal.training.batches import Batches, collate
from shoal.training.config import LossWeights
from shoal.training.losses import Errors, Loss, residuals
from shoal.training.predict import evaluate, predict
from shoal.training.samples import Sample, make_samples

Argon = Callable[..., Atoms]
CUTOFF = 4.8
WEIGHTS = LossWeights(energy=2.0, forces=0.5, stress=30.0)


@pytest.fixture(scope="module")
def samples(argon: Argon) -> list[Sample]:
    """Seven structures of two sizes; some lack energies, forces or stresses."""
    frames = [argon(k, symbols="Ar4", repeat=(1, 1, 1)) if k % 2 else argon(k) for k in range(7)]
    for k, name in ((1, "energy"), (2, "forces"), (3, "stress"), (5, "stress"), (5, "energy")):
        del frames[k].calc.results[name]
    return make_samples(frames, TypeMap(("Ar",), {"Ar": "Ar"}), CUTOFF, LabelKeys())


@pytest.fixture(scope="module")
def model() -> NequIP:
    config = NequIPConfig(
        cutoff=CUTOFF, type_names=("Ar",), mean_neighbors=12.0, num_layers=2, num_features=3, l_max=1,
        radial_mlp_width=4, model_dtype="float64",
    )  # fmt: skip
    model = NequIP(config)
    model.set_scales_shifts(0.7, -1.1)
    return model


def by_hand(model: NequIP, samples: list[Sample]) -> dict[str, np.ndarray]:
    """Residuals of all labelled numbers, sample by sample."""
    found: dict[str, list[np.ndarray]] = {"energy": [], "forces": [], "stress": []}
    for sample in samples:
        values = {name: value.numpy() for name, value in predict(model, collate([sample])).items()}
        energy, forces, stress = sample.labelled.tolist()
        if energy:
            found["energy"].append((values["energy"] - sample.energy.numpy()) / sample.n_atoms)
        if forces:
            found["forces"].append((values["forces"] - sample.forces.numpy()).ravel())
        if stress:
            found["stress"].append((values["stress"][0] - sample.stress.numpy()).ravel())
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_mean_over_an_epoch_is_the_mean_over_all_labels_however_they_are_batched(
    model: NequIP, samples: list[Sample], batch_size: int
) -> None:
    errors = by_hand(model, samples)
    expected = sum(getattr(WEIGHTS, name) * np.mean(np.square(values)) for name, values in errors.items())
    batches = Batches(samples, batch_size, seed=3)
    plan = batches.plan()
    loss = Loss(WEIGHTS, {name: len(values) / len(plan) for name, values in errors.items()})
    total = sum(float(loss(residuals(predict(model, batch), batch))) for batch in map(batches.collate, plan))
    assert total / len(plan) == pytest.approx(expected, rel=1e-12)


def test_errors_are_those_of_the_labelled_numbers_in_milli_units(model: NequIP, samples: list[Sample]) -> None:
    weights = dict(model.named_parameters())
    found, pairs = evaluate(partial(predict, model), Batches(samples, 3), weights, torch.device("cpu"))
    expected = by_hand(model, samples)
    for name, values in expected.items():
        assert found.metrics()[f"{name}_mae"] == pytest.approx(1000 * np.abs(values).mean(), rel=1e-12)
        assert found.metrics()[f"{name}_rmse"] == pytest.approx(1000 * np.sqrt(np.square(values).mean()), rel=1e-12)
        labels, predictions = pairs[name]
        np.testing.assert_allclose((predictions - labels).numpy(), values, atol=1e-12)
    assert found.loss(WEIGHTS) == pytest.approx(
        sum(getattr(WEIGHTS, name) * np.mean(np.square(values)) for name, values in expected.items()), rel=1e-12
    )


def test_a_quantity_without_labels_has_no_error(model: NequIP, samples: list[Sample]) -> None:
    errors = Errors()
    batch = collate([samples[5]])  # forces only
    errors.add(residuals(predict(model, batch), batch))
    assert set(errors.metrics()) == {"forces_mae", "forces_rmse"}


@pytest.mark.parametrize("weights", [{"energy": 1.0}, {"forces": 1.0}, {"stress": 1.0}, WEIGHTS.model_dump()])
def test_the_gradient_is_that_of_central_differences(
    model: NequIP, samples: list[Sample], weights: dict[str, float]
) -> None:
    loss = Loss(
        LossWeights(**{"energy": 0.0, "forces": 0.0, "stress": 0.0, **weights}),
        dict.fromkeys(WEIGHTS.model_dump(), 5.0),
    )
    batch = collate(samples[:4])
    parameters = list(model.parameters())

    def value() -> torch.Tensor:
        return loss(residuals(predict(model, batch, create_graph=True), batch))

    gradients = torch.autograd.grad(value(), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        ends = []
        for step in (-1e-4, 1e-4):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
            ends.append(value().item())
            with torch.no_grad():
                parameter.sub_(direction, alpha=step)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        assert slope == pytest.approx(float(np.diff(ends)[0]) / 2e-4, rel=1e-5, abs=1e-7)


def test_a_batch_without_a_label_that_counts_has_a_gradient_of_zero(model: NequIP, samples: list[Sample]) -> None:
    loss = Loss(LossWeights(energy=0.0, forces=0.0, stress=1.0), dict.fromkeys(WEIGHTS.model_dump(), 5.0))
    batch = collate(samples[5:6])  # forces only
    assert not batch.wants_stress
    value = loss(residuals(predict(model, batch, create_graph=True), batch))
    gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    assert float(value.detach()) == 0
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_missing_stresses_of_molecules_do_not_poison_the_gradient(model: NequIP, argon: Argon) -> None:
    cluster = argon(0)
    del cluster.calc.results["stress"]
    cluster.cell[:], cluster.pbc = 0, False
    samples = make_samples([cluster, argon(1)], TypeMap(("Ar",), {"Ar": "Ar"}), CUTOFF, LabelKeys())
    batch = collate(samples)
    loss = Loss(WEIGHTS, {"energy": 2, "forces": 48, "stress": 9})(
        residuals(predict(model, batch, create_graph=True), batch)
    )
    assert all(bool(torch.isfinite(gradient).all()) for gradient in torch.autograd.grad(loss, list(model.parameters())))


def test_large_reference_energies_cost_no_digits(argon: Argon) -> None:
    """With total energies near -20,000 eV, and a float32 core, residuals stay where they were to 1e-9 eV per atom."""
    shift = -2500.0
    found = []
    for offset in (0.0, shift):
        config = NequIPConfig(cutoff=CUTOFF, type_names=("Ar",), mean_neighbors=12.0, num_layers=1, num_features=3)
        model = NequIP(config)
        model.set_scales_shifts(0.7, offset)
        atoms = argon(0)
        atoms.calc.results["energy"] += 8 * offset
        batch = collate(make_samples([atoms], TypeMap(("Ar",), {"Ar": "Ar"}), CUTOFF, LabelKeys()))
        found.append(float(residuals(predict(model, batch), batch).energy))
    assert found[1] == pytest.approx(found[0], abs=1e-9)
