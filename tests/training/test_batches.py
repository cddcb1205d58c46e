"""Batches hold every sample once, within their bounds, in an order of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ase import Atoms

from shoal.io.labels import LabelKeys
from shoal.state import TypeMap
from shoal.training.batches import Batches
from shoal.training.samples import Sample, make_samples

Argon = Callable[..., Atoms]
CUTOFF = 4.8


@pytest.fixture(scope="module")
def samples(argon: Argon) -> list[Sample]:
    frames = [argon(k, symbols="Ar4", repeat=(1, 1, 1)) if k % 3 else argon(k) for k in range(11)]
    return make_samples(frames, TypeMap(("Ar",), {"Ar": "Ar"}), CUTOFF, LabelKeys())


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("max_edges", [None, 1, 200])
@pytest.mark.parametrize("seed", [None, 5])
def test_every_sample_is_in_one_batch_within_the_bounds(
    samples: list[Sample], batch_size: int, max_edges: int | None, seed: int | None
) -> None:
    plan = Batches(samples, batch_size, max_edges, seed).plan(epoch=2)
    assert sorted(k for batch in plan for k in batch) == list(range(len(samples)))
    for batch in plan:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or max_edges is None or sum(samples[k].n_edges for k in batch) <= max_edges


def test_the_order_depends_on_seed_and_epoch_only(samples: list[Sample]) -> None:
    before = torch.get_rng_state()
    plan = Batches(samples, 2, seed=1).plan
    assert plan(3) == Batches(samples, 2, seed=1).plan(3)
    assert plan(3) != plan(4)
    assert plan(3) != Batches(samples, 2, seed=2).plan(3)
    assert Batches(samples, 2).plan(3) == Batches(samples, 2).plan(4)
    assert torch.equal(before, torch.get_rng_state())


def test_packing_keeps_each_sample_as_it_is(samples: list[Sample]) -> None:
    batch = Batches(samples, 4).collate([5, 0, 2])
    atom, edge = 0, 0
    for k, sample in enumerate([samples[5], samples[0], samples[2]]):
        atoms, edges = slice(atom, atom + sample.n_atoms), slice(edge, edge + sample.n_edges)
        assert torch.equal(batch.edge_index[:, edges], sample.edge_index + atom)
        assert torch.equal(batch.edge_vectors[edges], sample.edge_vectors)
        assert torch.equal(batch.forces[atoms], sample.forces)
        assert batch.system_index[atoms].tolist() == [k] * sample.n_atoms
        assert torch.equal(batch.stress[k], sample.stress)
        atom, edge = atom + sample.n_atoms, edge + sample.n_edges
    assert bool((batch.edge_index[0].diff() >= 0).all())
