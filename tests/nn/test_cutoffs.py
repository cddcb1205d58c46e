"""Distances become shares of the cutoff of their ordered pair of types."""

import torch

from shoal.nn import EdgeCutoffs
from shoal.testing import close

DISTANCES = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
EDGES = torch.tensor([[0, 0, 1, 2], [1, 2, 0, 1]])
TYPES = torch.tensor([0, 1, 1])


def test_one_cutoff() -> None:
    assert torch.equal(EdgeCutoffs(4.0)(DISTANCES, EDGES, TYPES), DISTANCES / 4)


def test_rows_are_centres_and_columns_neighbours() -> None:
    cutoffs = EdgeCutoffs(4.0, [[1.0, 2.0], [3.0, 4.0]])
    close(cutoffs(DISTANCES, EDGES, TYPES), [1 / 2, 2 / 2, 3 / 3, 4 / 4], 1e-15)


def test_it_follows_its_module_but_is_no_weight() -> None:
    cutoffs = EdgeCutoffs(4.0, [[1.0, 2.0], [3.0, 4.0]])
    assert not cutoffs.state_dict()
    assert [name for name, _ in cutoffs.named_buffers()] == ["by_types"]
