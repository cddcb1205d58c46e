"""Functions that ask on their way, as two graphs: the same values, and nothing handed on that need not be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.engine.halves import halves_of

Function = Callable[..., list[torch.Tensor]]


def move(a: torch.Tensor, index: torch.Tensor, asked: torch.Tensor, given: torch.Tensor) -> list[torch.Tensor]:
    """As a step does it: something summed, something gathered twice, something light and something long."""
    sums = torch.zeros(2, dtype=a.dtype).index_add(0, index, a)
    way = a[:, None] * sums[index][:, None]
    again = a[:, None] * sums[index][:, None]
    light = (a * 2 + torch.ones_like(a))[index]
    long = a
    for k in range(10):
        long = long * (k + 2)
    return [way.sum(1), (given * light)[:, None] + again, sums.max() + given.sum(), given * long, way, a]


def noisy(a: torch.Tensor, index: torch.Tensor, asked: torch.Tensor, given: torch.Tensor) -> list[torch.Tensor]:
    one, other = torch.rand(4), torch.rand(4)
    return [a + one, a - one + given, one - other]


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, given = torch.rand(2, 4, dtype=torch.float64, generator=generator)
    return [a, torch.tensor([0, 1, 1, 0]), torch.zeros(4, dtype=torch.float64), given]


def cut(function: Function) -> tuple[fx.GraphModule, fx.GraphModule]:
    return halves_of(make_fx(function)(*inputs()), 1, 1)


def test_the_halves_together_are_the_function() -> None:
    *values, given = inputs()
    before, after = cut(move)
    asked, *kept = before(*values)
    wanted = move(*values, given)
    torch.testing.assert_close(asked, wanted[0], rtol=0, atol=0)
    for found, want in zip(after(*values, given, *kept), wanted[1:], strict=True):
        torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_only_what_takes_effort_is_handed_on_and_once() -> None:
    before, after = cut(move)
    _asked, *kept = before.graph.output_node().args[0]
    assert len(kept) == len(set(kept)) == 3, "the sums' maximum, the way and what is long; the gather is made again"
    targets = [node.target for node in after.graph.nodes]
    assert torch.ops.aten.index_add.default not in targets
    products = [node for node in before.graph.nodes if node.target is torch.ops.aten.mul.Tensor]
    assert len(products) == 1 + 10, "way and again are one value"


def test_random_numbers_are_drawn_once() -> None:
    *values, given = inputs()
    before, after = cut(noisy)
    asked, *kept = before(*values)
    there, difference = after(*values, given, *kept)
    torch.testing.assert_close(asked - values[0], values[0] + given - there)
    assert not torch.equal(difference, torch.zeros(4))
