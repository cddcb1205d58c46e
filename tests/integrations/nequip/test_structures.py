"""What an imported model is proved on has something of everything."""

from __future__ import annotations

import pytest
import torch

from shoal.integrations.nequip.structures import reference_structures
from shoal.neighbors import neighbor_list

CUTOFF = 5.0
EXAMPLE = {
    "pos": torch.tensor([[0.0, 0.0, 0.0], [1.2, 1.3, 1.1]], dtype=torch.float64),
    "atom_types": torch.tensor([[1], [0]]),
    "cell": torch.tensor([[[0.0, 2.6, 2.7], [2.5, 0.0, 2.6], [2.7, 2.5, 0.0]]], dtype=torch.float64),
    "pbc": torch.tensor([[True, True, True]]),
}


@pytest.mark.parametrize("n_types", [1, 3, 20])
def test_every_type_is_there_with_neighbours_in_a_cluster_and_in_a_skewed_cell(n_types: int) -> None:
    names = [f"type{k}" for k in range(n_types)]
    state, types = reference_structures(names, {}, CUTOFF)
    neighbors = neighbor_list(state, CUTOFF)
    for s, periodic in enumerate((False, True)):
        rows = slice(int(state.offsets[s]), int(state.offsets[s + 1]))
        assert set(types[rows].tolist()) == set(range(n_types))
        assert bool(state.pbc[s].all()) == periodic
        assert min(torch.bincount(neighbors.edge_index[0], minlength=state.n_atoms)[rows].tolist()) >= 3
    cell = state.cell[1]
    assert (cell - cell.diag().diag()).abs().max() > 0.1 * CUTOFF
    assert (cell - cell.T).abs().max() > 0.1 * CUTOFF
    shortest = neighbors.edge_vectors(state.positions, state.cell).norm(dim=1).min()
    assert 0.1 * CUTOFF < shortest < CUTOFF


def test_frames_of_the_data_are_rattled_and_strained_as_a_whole() -> None:
    state, types = reference_structures(["Au", "copper"], {"Au": "Au", "Cu": "copper"}, CUTOFF, EXAMPLE)
    assert state.n_systems == 5
    assert state.atomic_numbers[-2:].tolist() == [29, 79]
    assert types[-2:].tolist() == [1, 0]
    for s, stretch in zip((2, 3, 4), (0.98, 1.0, 1.02), strict=True):
        torch.testing.assert_close(state.cell[s], stretch * EXAMPLE["cell"][0])
        moved = state.positions[state.offsets[s] : state.offsets[s + 1]] - stretch * EXAMPLE["pos"]
        assert 0 < moved.abs().max() < 0.3


def test_a_type_without_a_symbol_has_no_element() -> None:
    state, _ = reference_structures(["Si", "odd"], {"Si": "Si"}, CUTOFF)
    assert set(state.atomic_numbers.tolist()) == {14, 0}
