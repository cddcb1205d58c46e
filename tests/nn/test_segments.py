"""Segment sums and gathers against plain loops, differentiable twice, traceable, for any shape."""

import numpy as np
import pytest
import torch

from shoal.nn.segments import gather, segment_sum
from shoal.testing import close

SHAPES = [(), (1,), (3,), (3, 4), (5, 1)]


def case(shape: tuple[int, ...], n_edges: int = 17, n_rows: int = 6) -> tuple[torch.Tensor, torch.Tensor, int]:
    source = torch.Generator().manual_seed(0)
    values = torch.randn((n_edges, *shape), generator=source, dtype=torch.float64)
    return values, torch.randint(0, n_rows - 1, (n_edges,), generator=source), n_rows  # the last row stays empty


@pytest.mark.parametrize("shape", SHAPES)
def test_sum_is_the_loop(shape: tuple[int, ...]) -> None:
    values, index, n_rows = case(shape)
    expected = np.zeros((n_rows, *shape))
    for value, row in zip(values.numpy(), index.numpy(), strict=True):
        expected[row] += value
    close(segment_sum(values, index, n_rows), expected, 1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_gather_is_indexing(shape: tuple[int, ...]) -> None:
    values, index, _ = case(shape)
    assert torch.equal(gather(values, index), values[index])


@pytest.mark.parametrize("shape", SHAPES)
def test_no_edges(shape: tuple[int, ...]) -> None:
    values, index, n_rows = case(shape, n_edges=0)
    assert torch.equal(segment_sum(values, index, n_rows), torch.zeros((n_rows, *shape), dtype=torch.float64))
    assert gather(torch.ones((n_rows, *shape)), index).shape == (0, *shape)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_differentiable_twice(shape: tuple[int, ...]) -> None:
    values, index, n_rows = case(shape)
    values.requires_grad_()

    def function(x: torch.Tensor) -> torch.Tensor:
        return segment_sum(gather(x, index) ** 3, index, n_rows) ** 2

    assert torch.autograd.gradcheck(function, (values,))
    assert torch.autograd.gradgradcheck(function, (values,))


def test_torchscript_traces_it_at_any_size() -> None:
    values, index, _ = case((2, 3))
    traced = torch.jit.trace(lambda x, i: segment_sum(gather(x, i), i, x.shape[0]), (values, index))
    more, others, _ = case((2, 3), n_edges=40, n_rows=9)
    assert torch.equal(traced(more, others), segment_sum(more[others], others, 40))
