"""Graphs compiled for any sizes, and what torch wraps around their code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from shoal.cache import inductor_cache
from shoal.engine.graph import _Unwrapped, compiled_graph, compiled_halves


def test_the_layers_around_a_graph_are_taken_off_where_that_changes_nothing() -> None:
    def function(values: list[torch.Tensor]) -> list[torch.Tensor]:
        a, b = values
        total = a + b
        return [total, total.t(), (a * b).amax(), a, total.clone().mul_(2)]

    dims = [("atom", "atom"), ("atom", "atom")]
    like = [torch.rand(5, 5, dtype=torch.float64) for _ in range(2)]
    run = compiled_graph(function, like, dims, 1)
    for n in (5, 7, 1):
        values = [torch.rand(n, n, dtype=torch.float64) for _ in range(2)]
        before = [value.clone() for value in values]
        for found, wanted in zip(run(values), function(before), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)

    flat = compiled_graph(lambda values: [values[0] * 2], [torch.rand(5)], [("atom",)], 1)
    for n in (5, 7, 1):
        assert torch.equal(flat([torch.full((n,), 3.0)])[0], torch.full((n,), 6.0))
    assert [graph.proved for graph in _graphs_within(flat)] == [True]

    plain = _Unwrapped(_compiled_artifact(lambda a: (a * 2,)))
    assert plain.code is not None
    for value in (torch.tensor([1.0, float("nan")]), torch.tensor([3.0])):
        torch.testing.assert_close(plain([value])[0], value * 2, equal_nan=True)
    assert plain.proved
    layered = _Unwrapped(_compiled_artifact(lambda a: (a * 2,)))
    layered.code = lambda values: (values[0] * 3,)
    torch.testing.assert_close(layered([torch.ones(2)])[0], torch.full((2,), 2.0))
    assert layered.code is None


def test_what_a_half_hands_on_may_lie_in_any_order() -> None:
    def function(values: list[torch.Tensor]) -> list[torch.Tensor]:
        a, given = values
        square = (a @ a).mT * 3  # column by column, as its source is
        return [a * 2, square + given]

    dims = [("system", None, None), ("system", None, None)]
    generator = torch.Generator().manual_seed(0)
    a, given = torch.rand(2, 3, 3, 3, dtype=torch.float64, generator=generator) + 2 * torch.eye(3)
    assert not ((a @ a).mT * 3).is_contiguous()
    run = compiled_halves(function, [a, given], dims, 1, 1, 1)
    for _ in range(2):
        (found,) = run([a], lambda twice: [given.mT + twice])
        torch.testing.assert_close(found, (a @ a).mT * 3 + given.mT + 2 * a, rtol=0, atol=1e-13)


def test_what_is_changed_in_place_is_changed_in_either_half() -> None:
    def function(values: list[torch.Tensor]) -> list[torch.Tensor]:
        a, given = values
        b = a.clone()
        b[:, 1] = 0
        c = a * 2
        c[:, :2].mul_(b[:, 1:])
        return [b, c * given, b + given]

    a, given = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    run = compiled_halves(function, [a, given], [("atom", None), ("atom", None)], 1, 1, 1)
    asked: list[torch.Tensor] = []

    def answer(b: torch.Tensor) -> list[torch.Tensor]:
        asked.append(b)
        return [given]

    found = [*run([a.clone()], answer)]
    for one, wanted in zip([*asked, *found], function([a.clone(), given]), strict=True):
        torch.testing.assert_close(one, wanted, rtol=0, atol=0)


def _graphs_within(function: Any) -> list[_Unwrapped]:
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    own = [each for each in held if isinstance(each, _Unwrapped)]
    return own + [graph for each in held for graph in _graphs_within(each)]


def _compiled_artifact(function: Callable[[torch.Tensor], tuple[torch.Tensor]]) -> Any:
    from torch._inductor import standalone_compile
    from torch.fx.experimental.proxy_tensor import make_fx

    with inductor_cache(), torch.no_grad():
        graph = make_fx(function, tracing_mode="symbolic")(torch.ones(2))
        examples = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]
        return standalone_compile(graph, examples, dynamic_shapes="from_graph", options={})
