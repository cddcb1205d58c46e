"""A function of tensors as one compiled graph that holds for any sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import torch

from shoal.cache import inductor_cache
from shoal.motion import Rows

Function = Callable[[list[torch.Tensor]], list[torch.Tensor]]
Dims = tuple[str | None, ...]
"""What each dimension of a tensor counts; None where its size is part of the function."""

SIZES = {"atom": 4099, "system": 67, "image": 20011, "neighbor": 97}
"""Sizes the graph is traced with: all different and none 0 or 1, so that it holds for every size; and such as are met,
because Inductor goes by them where it decides what is worth several threads."""


def dims_of(rows: Rows) -> list[Dims]:
    """The dimensions of each leaf of some rows."""
    return [
        (f.metadata["scope"], *[None] * (leaf.dim() - 1)) for f, leaf in zip(fields(rows), rows.leaves(), strict=True)
    ]


def compiled_graph(function: Function, like: Sequence[torch.Tensor], dims: Sequence[Dims]) -> Function:
    """`function` of a list of tensors, compiled for tensors as those in `like` but with any number of rows.

    The function must not look at values. It is traced once, with stand-ins of the sizes above, and handed to Inductor
    without torch.compile's own tracing, whose graphs hold for sizes above 1 only. Raises what the compiler raises.
    """
    from torch._inductor import standalone_compile
    from torch.fx.experimental.proxy_tensor import make_fx

    stand_ins: list[Any] = [_stand_in(tensor, names) for tensor, names in zip(like, dims, strict=True)]
    with inductor_cache(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        mode, symbolic = _symbolic(stand_ins, dims)
        with mode:
            graph = make_fx(lambda *values: function(list(values)), _allow_non_fake_inputs=True)(*symbolic)
        compiled = standalone_compile(graph, stand_ins, dynamic_shapes="from_graph")
    return lambda values: list(compiled(*values))


def _stand_in(tensor: torch.Tensor, names: Dims) -> torch.Tensor:
    sizes = [size if name is None else SIZES[name] for size, name in zip(tensor.shape, names, strict=True)]
    return torch.ones(sizes, dtype=tensor.dtype, device=tensor.device)


def _symbolic(tensors: Sequence[torch.Tensor], dims: Sequence[Dims]) -> tuple[Any, list[Any]]:
    """Fake tensors in which equal sizes of what is counted are one symbol, and the mode they live in."""
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fake: list[Any] = []
    for k, (tensor, names) in enumerate(zip(tensors, dims, strict=True)):
        kinds = [DimDynamic.STATIC if name is None else DimDynamic.DUCK for name in names]
        context: Any = StatelessSymbolicContext(dynamic_sizes=kinds)
        fake.append(mode.from_tensor(tensor, source=ConstantSource(f"input_{k}"), symbolic_context=context))
    return mode, fake
