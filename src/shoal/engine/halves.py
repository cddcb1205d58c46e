"""A traced function that asks for something on its way, cut there into two graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

EFFORT = 8
"""The second graph makes again, rather than is handed, what so many elementwise operations make of the inputs."""

aten = torch.ops.aten
UNTAGGED = (
    aten.index.Tensor,
    aten._to_copy.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
)
"""Elementwise too, but torch's tags do not say so."""


def halves_of(traced: fx.GraphModule, n_asked: int, n_given: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The graphs that `shoal.engine.graph.compiled_halves` compiles; `traced`, in which nothing is changed in place, is
    simplified for it."""
    _simplify(traced.graph)
    nodes = list(traced.graph.nodes)
    wanted: Any = traced.graph.output_node().args[0]
    inputs = [node for node in nodes if node.op == "placeholder"]
    late = set(inputs[len(inputs) - n_given :])
    for node in nodes:
        if not late.isdisjoint(node.all_input_nodes):
            late.add(node)
    asked, outputs = wanted[:n_asked], wanted[n_asked:]
    assert late.isdisjoint(asked)
    made = late | _cheap(nodes)
    needed = set(outputs)
    for node in reversed(nodes):
        if node in needed and node in made:
            needed.update(node.all_input_nodes)
    kept = [node for node in nodes if node in needed - made and node.op != "placeholder"]
    before = _graph(traced, inputs[: len(inputs) - n_given], [*asked, *kept])
    return before, _graph(traced, [*inputs, *kept], outputs)


def _simplify(graph: fx.Graph) -> None:
    """Every value once. Inductor sees to that within a graph, but what is kept would be kept twice."""
    known: dict[tuple[Any, str, str], fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and not _is_random(node):
            one = known.setdefault((node.target, str(node.args), str(node.kwargs)), node)
            if one is not node:
                node.replace_all_uses_with(one)
                graph.erase_node(node)


def _cheap(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Those rather made again than handed on: sizes, constants, views, and what takes little effort."""
    effort: dict[fx.Node, float] = {}
    cheap = set()
    for node in nodes:
        own = 0.0 if node.op != "call_function" or _is_free(node) else 1.0 if _is_elementwise(node) else math.inf
        effort[node] = own + sum(effort[one] for one in node.all_input_nodes)
        if node.op == "get_attr" or (node.op == "call_function" and (_is_free(node) or effort[node] <= EFFORT)):
            cheap.add(node)
    return cheap


def _is_free(node: fx.Node) -> bool:
    if _is_random(node):
        return False
    made_of_nothing = not any(isinstance(one.meta.get("val"), torch.Tensor) for one in node.all_input_nodes)
    is_tensor = isinstance(node.meta.get("val"), torch.Tensor)
    return made_of_nothing or not is_tensor or getattr(node.target, "is_view", False)


def _is_random(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in _tags(node)


def _is_elementwise(node: fx.Node) -> bool:
    """As many numbers, each made of one of every source, or of none; a gather too."""
    return not _is_random(node) and (node.target in UNTAGGED or torch.Tag.pointwise in _tags(node))


def _tags(node: fx.Node) -> Sequence[torch.Tag]:
    return getattr(node.target, "tags", ())


def _graph(of: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
    """The part of a graph that leads from `inputs`, any of its nodes, to `outputs`."""
    graph, copies = fx.Graph(), {}
    for k, node in enumerate(inputs):
        copies[node] = graph.placeholder(f"input_{k}")
        copies[node].meta = {**node.meta, "val": node.meta["val"].contiguous()}
    needed = set(outputs)
    for node in reversed(of.graph.nodes):
        if node in needed and node not in copies:
            needed.update(node.all_input_nodes)
    for node in of.graph.nodes:
        if node in needed and node not in copies:
            copies[node] = graph.node_copy(node, lambda one: copies[one])
    graph.output(tuple(copies[node] for node in outputs))
    return fx.GraphModule(of, graph)
