"""The kernel of tables is the plain sum, its gradients are those of torch, twice."""

import pytest
import torch
from torch import Tensor

from shoal.nn.interpolation import interpolate, interpolate_native
from shoal.testing import close


def example(n_edges: int, width: int, pieces: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    source = torch.Generator().manual_seed(0)
    table = torch.randn(pieces, 4, width, generator=source, dtype=torch.float64).to(dtype).requires_grad_()
    factors = torch.randn(n_edges, 4, generator=source, dtype=torch.float64).to(dtype).requires_grad_()
    return table, factors, torch.randint(0, pieces, (n_edges,), generator=source)


@pytest.mark.parametrize("n_edges", [0, 1, 500])
@pytest.mark.parametrize("width", [1, 19, 64])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_the_plain_sum(
    n_edges: int, width: int, dtype: torch.dtype, tol: float
) -> None:
    table, factors, piece = example(n_edges, width, dtype=dtype)
    found = []
    for function in (interpolate_native, interpolate):
        value = function(table, factors, piece)
        first = torch.autograd.grad((value**2).mean() if n_edges else value.sum(), (table, factors), create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), (table, factors), allow_unused=True)  # type: ignore[arg-type]
        found.append([value, *first, *second])
    for a, b in zip(*found, strict=True):
        close(torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b, tol)


def test_gradients_to_second_order_are_differences() -> None:
    table, factors, piece = example(5, 3)
    assert torch.autograd.gradcheck(lambda a, b: interpolate_native(a, b, piece), (table, factors))
    assert torch.autograd.gradgradcheck(lambda a, b: interpolate_native(a, b, piece), (table, factors))


def test_threads_change_nothing() -> None:
    table, factors, piece = example(3000, 32, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        value = interpolate_native(table, factors, piece)
        found.append([value, *torch.autograd.grad(value.square().sum(), (table, factors))])
    torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
