"""Reference energies are found where compositions fix them, and owned up to where they do not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from shoal.errors import ShoalWarning
from shoal.io.labels import LabelKeys
from shoal.state import TypeMap
from shoal.training.samples import make_samples
from shoal.training.statistics import fit_reference_energies, gather_statistics

Argon = Callable[..., Atoms]
CUTOFF = 4.8
NAMES = ("H", "C", "O")
TRUTH = np.array([-13.6, -1029.1, -2041.8])


def test_least_squares_recovers_the_energies_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (40, 3)) + np.array([1, 0, 0])
    found = fit_reference_energies(counts, counts @ TRUTH, NAMES)
    np.testing.assert_allclose(found, TRUTH, atol=1e-4)


def test_noise_moves_them_no_further_than_ordinary_least_squares() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 9, (60, 3))
    energies = counts @ TRUTH + rng.normal(0, 0.1, 60) * counts.sum(1)
    shares = counts / counts.sum(1, keepdims=True)
    expected = np.linalg.lstsq(shares, energies / counts.sum(1), rcond=None)[0]
    np.testing.assert_allclose(fit_reference_energies(counts, energies, NAMES), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("counts", "open_types"),
    [
        ([[2, 0, 1]] * 4, "H, C, O"),  # water only: one equation, and no carbon
        ([[4, 1, 0], [6, 2, 0]], "O"),  # no oxygen anywhere
        ([[2, 0, 1], [4, 0, 2], [0, 1, 0]], "H, O"),  # carbon is fixed, H and O come in one ratio
    ],
)
def test_a_composition_that_leaves_elements_open_is_warned_of_by_name(counts: list[list[int]], open_types: str) -> None:
    matrix = np.array(counts)
    with pytest.warns(ShoalWarning, match=f"do not determine the reference energies of {open_types}: "):
        found = fit_reference_energies(matrix, matrix @ TRUTH, NAMES)
    np.testing.assert_allclose(matrix @ found, matrix @ TRUTH, rtol=1e-6)


def test_determined_compositions_are_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_reference_energies(np.eye(3, dtype=int), TRUTH, NAMES)


def test_statistics_of_a_mixture_against_numpy(argon: Argon) -> None:
    frames = [argon(seed, symbols="ArNe3ArNe3") for seed in range(5)]
    samples = make_samples(frames, TypeMap(("Ne", "Ar"), {"Ne": "Ne", "Ar": "Ar"}), CUTOFF, LabelKeys())
    found = gather_statistics(samples, ("Ne", "Ar"), {"Ne": -1.0, "Ar": -2.0})
    forces, numbers = np.concatenate([a.get_forces() for a in frames]), np.concatenate([a.numbers for a in frames])
    assert found.energy_scales["Ne"] == pytest.approx(np.sqrt((forces[numbers == 10] ** 2).mean()))
    assert found.energy_scales["Ar"] == pytest.approx(np.sqrt((forces[numbers == 18] ** 2).mean()))
    assert found.energy_shifts == {"Ne": -1.0, "Ar": -2.0}
    assert found.n_atoms == {"Ne": 30, "Ar": 10}
    assert found.mean_neighbors == pytest.approx(sum(s.n_edges for s in samples) / 40)


def test_types_without_forces_take_the_scale_of_all(argon: Argon) -> None:
    frames = [argon(0), argon(1)]
    type_map = TypeMap(("Ar", "Xe"), {"Ar": "Ar"})
    samples = make_samples(frames, type_map, CUTOFF, LabelKeys())
    found = gather_statistics(samples, type_map.type_names, "none")
    rms = torch.cat([s.forces for s in samples]).square().mean().sqrt()
    assert found.energy_scales == pytest.approx({"Ar": float(rms), "Xe": float(rms)})
    assert found.energy_shifts == {"Ar": 0.0, "Xe": 0.0}


def test_perfect_crystals_have_scale_one(argon: Argon) -> None:
    atoms = argon(0)
    atoms.calc.results["forces"][:] = 0
    samples = make_samples([atoms], TypeMap(("Ar",), {"Ar": "Ar"}), CUTOFF, LabelKeys())
    assert gather_statistics(samples, ("Ar",), "none").energy_scales == {"Ar": 1.0}


def test_neighbours_count_within_the_cutoffs_of_their_types(argon: Argon) -> None:
    """[centre][neighbour], as nequip counts them; a pair beyond its own cutoff adds nothing to a sum."""
    frames = [argon(k, symbols="ArKrArKr", repeat=(1, 1, 1)) for k in range(2)]
    samples = make_samples(frames, TypeMap(("Ar", "Kr"), {"Ar": "Ar", "Kr": "Kr"}), CUTOFF, LabelKeys())
    cutoffs = {("Ar", "Ar"): 4.6, ("Ar", "Kr"): 3.6, ("Kr", "Ar"): 3.4, ("Kr", "Kr"): 4.8}
    expected = 0
    for atoms in frames:
        i, j, d = neighbor_list("ijd", atoms, CUTOFF)
        symbols = atoms.get_chemical_symbols()
        expected += sum(length < cutoffs[symbols[a], symbols[b]] for a, b, length in zip(i, j, d, strict=True))
    table = [[4.6, 3.6], [3.4, 4.8]]
    found = gather_statistics(samples, ("Ar", "Kr"), "none", table).mean_neighbors
    assert found == pytest.approx(expected / sum(map(len, frames)))
    assert found < gather_statistics(samples, ("Ar", "Kr"), "none").mean_neighbors
