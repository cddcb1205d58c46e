"""Lists that are renewed for some systems, taken apart and joined, hold the pairs of lists built at once."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.engine.runs import mixed_systems

from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, joined, neighbor_list, padded, refreshed, taken
from shoal.neighbors.native import is_available
from shoal.state import SimState, concatenate, select


@pytest.fixture(params=["native", "plain torch"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without C++ kernels."""
    if request.param == "plain torch":
        for module in ("build", "neighbor_list"):
            monkeypatch.setattr(sys.modules[f"shoal.neighbors.{module}"], "is_available", lambda: False)
    else:
        assert is_available()


def state_of(n: int = 8) -> SimState:
    return atoms_to_state(mixed_systems(n))


def pairs(neighbors: NeighborList) -> set[tuple[int, ...]]:
    rows = torch.cat([neighbors.edge_index.T, neighbors.shifts], dim=1).tolist()
    assert len({tuple(row) for row in rows}) == len(rows)
    return {tuple(row) for row in rows}


def is_consistent(neighbors: NeighborList) -> bool:
    """Whether rows and reverse that came with a list are those of its edges."""
    bare = replace(neighbors)
    return torch.equal(bare.offsets, neighbors.offsets) and torch.equal(bare.reverse, neighbors.reverse)


@pytest.mark.parametrize("due", [[0], [2, 5, 7], [0, 1, 2, 3, 4, 5, 6, 7], [6]])
def test_renewed_systems_have_the_pairs_of_where_they_are_now(due: list[int]) -> None:
    state = state_of()
    before = neighbor_list(state, 5.0, 0.5)
    rng = np.random.default_rng(0)
    moved = state.replace(positions=state.positions + torch.as_tensor(rng.normal(0, 0.6, (state.n_atoms, 3))))
    chosen = torch.zeros(8, dtype=torch.bool).index_fill(0, torch.tensor(due), True)
    renewed = refreshed(before, moved, chosen)
    now = chosen[state.system_index]
    mixture = state.replace(positions=torch.where(now[:, None], moved.positions, state.positions))
    assert pairs(renewed) == pairs(neighbor_list(mixture, 5.0, 0.5)) != pairs(before)
    assert bool((renewed.edge_index[0].diff() >= 0).all())
    assert torch.equal(renewed.positions, mixture.positions)
    assert renewed.outdated(mixture).tolist() == [False] * 8
    assert is_consistent(renewed)


def test_taking_systems_and_joining_lists() -> None:
    state = state_of()
    whole = neighbor_list(state, 5.0, 0.5)
    some, others = [1, 4, 6], [0, 2, 3, 5, 7]
    parts = [taken(whole, torch.tensor(rows)) for rows in (some, others)]
    assert pairs(parts[0]) == pairs(neighbor_list(select(state, some), 5.0, 0.5))
    together = concatenate([select(state, some), select(state, others)])
    assert pairs(joined(parts)) == pairs(neighbor_list(together, 5.0, 0.5))
    assert torch.equal(joined(parts).system_index, together.system_index)
    assert torch.equal(joined(parts).positions, together.positions)
    assert is_consistent(joined(parts))
    assert is_consistent(parts[0])


@pytest.mark.parametrize("far", [0, 10**4])
def test_a_matrix_of_images_holds_every_edge_vector(far: int) -> None:
    state = state_of()
    state.positions[3] += far * state.cell[state.system_index[3], 0]  # an atom many cells away: images by sorting
    neighbors = neighbor_list(state, 5.0, 0.5)
    matrix = padded(neighbors)
    images = matrix.images(state.positions, matrix.translations(state.cell, state.system_index))
    vectors = images[matrix.neighbor] - state.positions[:, None]
    filled = vectors.square().sum(2) < 1e12
    assert torch.equal(filled.sum(1), neighbors.offsets.diff())
    expected = neighbors.edge_vectors(state.positions, state.cell)
    assert torch.allclose(vectors[filled], expected, atol=1e-9 * max(1, far))


def test_a_matrix_without_pairs() -> None:
    state = select(state_of(), [0])
    lonely = neighbor_list(state, 0.01)
    matrix = padded(lonely)
    images = matrix.images(state.positions, matrix.translations(state.cell, state.system_index))
    assert bool(((images[matrix.neighbor] - state.positions[:, None]).norm(dim=2) > 1e7).all())


def test_packed_rows_hold_every_edge_vector_and_its_reverse() -> None:
    state = state_of()
    state.positions[3] += 10**4 * state.cell[state.system_index[3], 0]
    neighbors = neighbor_list(state, 5.0, 0.5)
    packed = neighbors.packed
    owner = packed.owner.long()
    images = state.positions[owner] + (packed.shift[:, :, None] * state.cell[state.system_index[owner]]).sum(1)
    filled = packed.neighbor < len(owner)
    row = torch.repeat_interleave(torch.arange(state.n_atoms), packed.starts.diff())
    assert torch.equal(row[filled], neighbors.edge_index[0])
    assert torch.equal(owner[packed.neighbor[filled].long()], neighbors.edge_index[1])
    vectors = images[packed.neighbor[filled].long()] - state.positions[row[filled]]
    assert torch.allclose(vectors, neighbors.edge_vectors(state.positions, state.cell), atol=1e-9)
    assert bool((packed.starts % 8 == 0).all())
    assert len({*zip(owner.tolist(), *packed.shift.T.tolist(), strict=True)}) == len(owner)
    place = filled.nonzero()[:, 0]
    assert torch.equal(packed.back[place].long(), place[neighbors.reverse])
