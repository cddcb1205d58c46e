"""Batch and loop do the same work, and their ratio is that of the medians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shoal.demo.model import Model, one_thread
from shoal.demo.throughput import Throughput, compare_throughput, rattled_cells


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("form", ["compiled", "eager"])
def test_both_sides_give_the_same_numbers(silicon_package: Path, native_silicon: Path, form: str) -> None:
    model = Model(silicon_package, native_silicon if form == "compiled" else None)
    threads = torch.get_num_threads()
    told: list[str] = []
    result = compare_throughput(model, rattled_cells(5, 1), 2048, 2, told.append)
    assert (result.n_systems, result.n_atoms, result.n_batches) == (5, 8, 1)
    assert len(result.batch) == len(result.loop) == 2
    assert result.energy_difference < 1e-5
    assert result.forces_difference < 1e-5
    assert len(told) == 2 * 2
    assert torch.get_num_threads() == threads


def test_batches_are_bounded(native_silicon: Path) -> None:
    result = compare_throughput(Model(native_silicon, native_silicon), rattled_cells(5, 1), 20, 1)
    assert result.n_batches == 3


def test_the_ratio_is_that_of_the_medians() -> None:
    result = Throughput(
        10, 8, 1, batch=(1.0, 9.0, 2.0), loop=(5.0, 6.0, 100.0), energy_difference=0, forces_difference=0
    )
    assert result.ratio == 3
    assert result.per_atom(result.batch) == 2e6 / 80


def test_cells_are_different_and_repeatable() -> None:
    first, again = rattled_cells(3, 2), rattled_cells(3, 2)
    assert [len(atoms) for atoms in first] == [64, 64, 64]
    for atoms, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(atoms.positions, same.positions)
    assert not np.allclose(first[0].positions, first[1].positions)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_is_given_back_after_an_error() -> None:
    before = torch.get_num_threads()
    inside = []

    def fails() -> None:
        with one_thread():
            inside.append(torch.get_num_threads())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert inside == [1]
    assert torch.get_num_threads() == before
