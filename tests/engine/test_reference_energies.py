"""Reference energies of -20,000 eV a molecule cost no digit of energy differences, by whichever way they come."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from tests.heavy_molecule import TYPES, differences, exact_energy, model, molecule

import shoal
from shoal.deploy import compile_model, package_potential
from shoal.engine import evaluate, read_results
from shoal.integrations.ase import ShoalCalculator
from shoal.io import LabelKeys, atoms_to_state
from shoal.potentials import LennardJones, Sum
from shoal.potentials._derivatives import energy_and_derivatives
from shoal.properties import measure_accuracy

TOLERANCE = 1e-6
FRAMES = [molecule(seed) for seed in range(6)]
Route = Callable[[Path, list[Atoms], Path], "np.ndarray | torch.Tensor | list[float]"]


def batched(file: Path, frames: list[Atoms], _: Path) -> torch.Tensor:
    return shoal.load(file)(atoms_to_state(frames))["energy"]


def sums_of_atomic_energies(file: Path, frames: list[Atoms], _: Path) -> list[float]:
    values = shoal.load(file)(atoms_to_state(frames), ["atomic_energy"])["atomic_energy"]
    return [math.fsum(part) for part in values.reshape(len(frames), -1).tolist()]


def from_a_float32_state(file: Path, frames: list[Atoms], _: Path) -> torch.Tensor:
    return shoal.load(file)(atoms_to_state(frames, dtype=torch.float32))["energy"]


def with_another_potential(file: Path, frames: list[Atoms], _: Path) -> torch.Tensor:
    nothing = LennardJones(dict.fromkeys(TYPES, (0.0, 1.0)), 2.0)
    return shoal.BatchCalculator(Sum(shoal.load(file).potential, nothing))(atoms_to_state(frames))["energy"]


def through_ase(file: Path, frames: list[Atoms], _: Path) -> list[float]:
    calculator = ShoalCalculator(file)
    return [calculator.get_potential_energy(atoms) for atoms in frames]


def in_memory(file: Path, frames: list[Atoms], _: Path) -> np.ndarray:
    return evaluate(frames, file).energies


def as_structures(file: Path, frames: list[Atoms], _: Path) -> list[float]:
    return [atoms.get_potential_energy() for atoms in evaluate(frames, file).to_atoms()]


def in_parquet(file: Path, frames: list[Atoms], folder: Path) -> np.ndarray:
    evaluate(frames, file, out=folder / "results")
    return read_results(folder / "results")["energy"]


def in_a_journal(file: Path, frames: list[Atoms], folder: Path) -> np.ndarray:
    """As a killed run leaves them: before a part is closed."""
    journal: list[str] = []
    name = folder / "results" / "journal.jsonl"
    evaluate(frames, file, out=folder / "results", on_batch=lambda _: journal.append(name.read_text()))
    return [json.loads(line)["energy"] for line in journal[-1].splitlines()]


def in_extxyz(file: Path, frames: list[Atoms], folder: Path) -> list[float]:
    evaluate(frames, file, out=folder / "results.xyz")
    return [atoms.get_potential_energy() for atoms in ase.io.read(folder / "results.xyz", index=":")]


ROUTES = (
    batched,
    sums_of_atomic_energies,
    from_a_float32_state,
    with_another_potential,
    through_ase,
    in_memory,
    as_structures,
    in_parquet,
    in_a_journal,
    in_extxyz,
)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    potential, state = model(), atoms_to_state(FRAMES[:2])
    out = tmp_path_factory.mktemp("heavy") / "heavy.shoal"
    return package_potential(potential, out, state, potential.type_map()(state))


@pytest.fixture(scope="module", params=["package", "torchscript", pytest.param("aotinductor", marks=pytest.mark.slow)])
def file(request: pytest.FixtureRequest, packaged: Path) -> Path:
    if request.param == "package":
        return packaged
    out = packaged.with_suffix({"torchscript": ".shoal.pth", "aotinductor": ".shoal.pt2"}[request.param])
    compile_model(packaged, out, mode=request.param)
    return out


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_energy_differences_of_a_float32_model_are_right(route: Route, file: Path, tmp_path: Path) -> None:
    frames = FRAMES
    if route is from_a_float32_state:
        frames = [atoms.copy() for atoms in FRAMES]
        for atoms in frames:
            atoms.positions = atoms.positions.astype(np.float32)
    expected = [exact_energy(model(), atoms) for atoms in frames]
    assert all(energy < -17_000 for energy in expected)
    assert min(abs(difference) for difference in differences(expected)[1:]) > 1e-3
    found = differences(route(file, frames, tmp_path))
    np.testing.assert_allclose(found, differences(expected), rtol=0, atol=TOLERANCE)


def test_errors_against_labels_are_right(file: Path, tmp_path: Path) -> None:
    """Labels in a file, off by known amounts of a thousandth of an eV."""
    errors = 1e-3 * np.arange(1, len(FRAMES) + 1)
    labelled = [atoms.copy() for atoms in FRAMES]
    for atoms, error in zip(labelled, errors, strict=True):
        atoms.info["dft_energy"] = float(exact_energy(model(), atoms)) - error
    ase.io.write(tmp_path / "labelled.xyz", labelled)
    accuracy = measure_accuracy(tmp_path / "labelled.xyz", file, keys=LabelKeys(energy="dft_energy"))
    per_atom = 1e3 * errors / len(FRAMES[0])  # meV
    found = [frame.errors("energy")[0] for frame in accuracy.frames]
    np.testing.assert_allclose(found, per_atom, rtol=0, atol=1e3 * TOLERANCE / len(FRAMES[0]))
    assert accuracy.total["energy"].mae == pytest.approx(per_atom.mean(), abs=1e3 * TOLERANCE / len(FRAMES[0]))


@pytest.mark.parametrize("order", ["as they come", "sorted", "reversed"])
@pytest.mark.parametrize("kind", ["a thousand molecules", "atoms all alike"])
def test_the_energy_of_a_large_system_is_the_sum_of_its_atoms_in_any_order(kind: str, order: str) -> None:
    """27,000 atoms and 2e7 eV, against an exactly rounded sum; two such systems in the batch."""
    rng = np.random.default_rng(0)
    shifts = np.tile(rng.choice([-1029.8376219153, -13.5872245917, -1484.9814072316, -2042.0330990156], 27), 1000)
    atomic = shifts + rng.normal(0, 0.3, 27_000) if kind == "a thousand molecules" else np.full(27_000, -654.123456789)
    atomic = {"as they come": atomic, "sorted": np.sort(atomic), "reversed": atomic[::-1].copy()}[order]
    assert math.fsum(atomic) < -1.7e7
    given = torch.tensor(np.concatenate([atomic, atomic / 3]))
    values = energy_and_derivatives(
        lambda vectors: given + 0 * vectors.sum(),
        torch.zeros(0, 3, dtype=torch.float64),
        torch.zeros(2, 0, dtype=torch.int64),
        torch.arange(54_000) // 27_000,
        torch.zeros(2, 3, 3, dtype=torch.float64),
    )
    expected = [math.fsum(atomic), math.fsum(atomic / 3)]
    np.testing.assert_allclose(values["energy"].numpy(), expected, rtol=0, atol=2e-8)


def test_the_sum_of_atomic_energies_hands_its_gradient_to_each_of_them() -> None:
    atomic = torch.tensor([-1029.8, 0.3, -13.6, 2.5], dtype=torch.float64, requires_grad=True)
    values = energy_and_derivatives(
        lambda vectors: atomic + 0 * vectors.sum(),
        torch.zeros(0, 3, dtype=torch.float64),
        torch.zeros(2, 0, dtype=torch.int64),
        torch.tensor([0, 0, 1, 1]),
        torch.zeros(2, 3, 3, dtype=torch.float64),
        create_graph=True,
    )
    weights = torch.tensor([2.0, 5.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * values["energy"]).sum(), atomic)
    assert gradient.tolist() == [2.0, 2.0, 5.0, 5.0]
