"""Training on total energies of -20,000 eV a molecule is training on what is left when the atoms' own are taken off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from tests.heavy_molecule import SHIFTS, TYPES, exact_energy, model, molecule, reference_energy

from shoal.deploy import package
from shoal.engine import BatchCalculator
from shoal.io import LabelKeys, atoms_to_state
from shoal.state import TypeMap
from shoal.training import TrainResult, train
from shoal.training.batches import collate
from shoal.training.config import LossWeights
from shoal.training.losses import Errors, Loss, residuals
from shoal.training.predict import predict
from shoal.training.samples import Sample, make_samples
from shoal.training.statistics import fit_reference_energies, gather_statistics

SIZES = (27, 27, 20, 13, 24, 9, 27, 16, 22, 11, 18, 25)


def labelled(*, heavy: bool):
    """Molecules and parts of them with the energies of a random model plus noise, with or without those of atoms."""
    teacher, rng = model("float64"), np.random.default_rng(0)
    frames = []
    for seed, size in enumerate(SIZES):
        atoms = molecule(seed, size)
        energy = exact_energy(teacher, atoms) - (0 if heavy else reference_energy(atoms))
        forces = rng.normal(0, 0.5, (size, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(energy) + rng.normal(0, 0.1), forces=forces)
        frames.append(atoms)
    return frames


def samples(*, heavy: bool) -> list[Sample]:
    return make_samples(labelled(heavy=heavy), TypeMap.from_argument(TYPES, True), 3.0, LabelKeys())


def test_residuals_losses_metrics_and_gradients_are_those_without_reference_energies() -> None:
    found = []
    for heavy in (True, False):
        potential = model()
        if not heavy:
            potential.model.scale_shift.shifts.zero_()
        network = potential.model.requires_grad_(True)
        batch = collate(samples(heavy=heavy))
        residual = residuals(predict(network, batch, create_graph=True), batch)
        loss = Loss(LossWeights(energy=1.0, forces=1.0), {"energy": 4.0, "forces": 100.0, "stress": 1.0})(residual)
        gradients = torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad])
        errors = Errors()
        errors.add(residual)
        found.append((residual.energy.detach(), loss.detach(), errors.metrics(), gradients))
    heavy, light = found
    torch.testing.assert_close(heavy[0], light[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(heavy[1], light[1], rtol=1e-11, atol=0)
    assert heavy[2] == pytest.approx(light[2], abs=1e-9)
    for a, b in zip(heavy[3], light[3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7 * float(b.abs().max()))


def test_fitted_reference_energies_are_those_of_the_small_part_plus_the_large() -> None:
    """Least squares are linear in the energies: what is fitted to a sum is the sum of what is fitted."""
    heavy, light = (gather_statistics(samples(heavy=h), TYPES, "least_squares").energy_shifts for h in (True, False))
    for name in TYPES:
        assert heavy[name] - SHIFTS[name] == pytest.approx(light[name], abs=1e-7)


def test_what_a_fit_leaves_over_keeps_its_digits_even_where_one_composition_decides_nothing() -> None:
    """As for a single molecule: the shifts are open, the energies that remain are not."""
    counts = np.tile(np.array([12, 12, 2, 1]), (50, 1))
    rest = np.random.default_rng(0).normal(0, 0.2, 50)
    total = float(reference_energy(molecule(0)))
    with pytest.warns(match="do not determine the reference energies"):
        shifts = fit_reference_energies(counts, total + rest, TYPES)
    np.testing.assert_allclose(total + rest - counts @ shifts, rest - rest.mean(), rtol=0, atol=1e-9)


def test_a_training_on_total_energies_goes_step_by_step_like_one_without_the_atoms(tmp_path: Path) -> None:
    heavy, light = (trained(tmp_path / name, heavy=name == "heavy") for name in ("heavy", "light"))
    for a, b in zip(heavy.history, light.history, strict=True):
        for name in ("train_loss", "val_loss", "train_energy_rmse", "val_energy_mae", "val_forces_rmse"):
            assert a[name] == pytest.approx(b[name], rel=1e-6), name
    states = atoms_to_state(labelled(heavy=True))
    energies = [
        BatchCalculator.from_package(
            package(result.best, tmp_path / f"{k}.shoal"), chemical_species_to_atom_type_map=True
        )(states)["energy"]
        for k, result in enumerate((heavy, light))
    ]
    expected = torch.tensor([float(reference_energy(molecule(0, size))) for size in SIZES], dtype=torch.float64)
    torch.testing.assert_close(energies[0] - expected, energies[1], rtol=0, atol=1e-6)


def trained(folder: Path, *, heavy: bool) -> TrainResult:
    folder.mkdir()
    ase.io.write(folder / "data.xyz", labelled(heavy=heavy))
    config: dict[str, Any] = {
        "output": str(folder / "run"),
        "type_names": list(TYPES),
        "reference_energies": SHIFTS if heavy else "none",
        "data": {
            "path": str(folder / "data.xyz"),
            "fractions": {"train": 0.7, "val": 0.3, "test": 0.0},
            "batch_size": 3,
        },
        "model": {"cutoff": 3.0, "num_layers": 2, "l_max": 1, "num_features": 4, "radial_mlp_width": 8},
        "training": {"max_epochs": 3, "logs": ["csv"], "progress": False, "device": "cpu"},
    }
    return train(config)
