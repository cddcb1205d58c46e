"""A function of tensors as one compiled graph that holds for any sizes, or as two with something in between."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import torch
from torch import fx

from shoal.cache import inductor_cache
from shoal.engine.halves import halves_of
from shoal.motion import Rows

Function = Callable[[list[torch.Tensor]], list[torch.Tensor]]
Ask = Callable[..., Iterable[torch.Tensor]]
Asking = Callable[[list[torch.Tensor], Ask], list[torch.Tensor]]
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


def compiled_graph(function: Function, like: Sequence[torch.Tensor], dims: Sequence[Dims], threads: int) -> Function:
    """`function` of contiguous tensors, compiled for such as those in `like` but with any number of rows.

    The function must not look at values. It is traced once, with stand-ins of the sizes above, and handed to Inductor
    without torch.compile's own tracing, whose graphs hold for sizes above 1 only. On a CPU it takes so many threads.
    Raises what the compiler raises.
    """
    return _compiled(_traced(function, like, dims), threads)


def compiled_halves(
    function: Function, like: Sequence[torch.Tensor], dims: Sequence[Dims], n_asked: int, n_given: int, threads: int
) -> Asking:
    """The same for a function that stops on its way to ask for something: two graphs, before and after.

    Its last `n_given` inputs are what it is given, and its first `n_asked` outputs, which do not depend on them, what
    it asks with. The first graph takes the other inputs to the question and whatever is kept for later; the second
    takes all inputs and what is kept to the remaining outputs. What comes back takes the other inputs and somebody to
    ask, and gives the remaining outputs.
    """

    def pure(values: list[torch.Tensor]) -> list[torch.Tensor]:
        """Without changes in place, which of two halves one alone would see."""
        return torch.func.functionalize(lambda *each: function(list(each)))(*values)

    before, after = (_compiled(half, threads) for half in halves_of(_traced(pure, like, dims), n_asked, n_given))

    def run(values: list[torch.Tensor], ask: Ask) -> list[torch.Tensor]:
        made = before(values)
        asked, kept = made[:n_asked], made[n_asked:]
        return after([*values, *contiguous([*ask(*asked), *kept])])

    return run


def contiguous(values: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Each as a compiled graph takes it."""
    return list(map(torch.Tensor.contiguous, values))


def _traced(function: Function, like: Sequence[torch.Tensor], dims: Sequence[Dims]) -> fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        mode, symbolic = _symbolic([_stand_in(*pair) for pair in zip(like, dims, strict=True)], dims)
        with mode:
            return make_fx(lambda *values: function(list(values)), _allow_non_fake_inputs=True)(*symbolic)


def _compiled(graph: fx.GraphModule, threads: int) -> Function:
    """Compiled, for contiguous inputs; those that come out as they went in are no outputs of the compiled graph."""
    from torch._inductor import standalone_compile

    inputs, output = graph.graph.find_nodes(op="placeholder"), graph.graph.output_node()
    wanted: Any = output.args[0]
    made = list(dict.fromkeys(node for node in wanted if node.op != "placeholder"))
    place = {node: k for k, node in enumerate([*inputs, *made])}
    order = [place[node] for node in wanted]
    output.args = (tuple(made),)
    graph.recompile()
    with inductor_cache(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # rows of three numbers are no work for masked vectors: a twentieth of a small system's step
        patches = {"size_asserts": False, "cpp.threads": threads, "cpp.enable_loop_tail_vec": False}
        examples = [node.meta["val"] for node in inputs]
        compiled = standalone_compile(graph, examples, dynamic_shapes="from_graph", options={"config_patches": patches})

    call = _Unwrapped(compiled)

    def run(values: list[torch.Tensor]) -> list[torch.Tensor]:
        everything = [*values, *call(values)]
        return [everything[k] for k in order]

    return run


class _Unwrapped:
    """A compiled graph without the layers torch wraps around its code, which take as long as the code of small systems.

    They see to gradients, mutation and aliases, of which graphs here have none. The first call is made both ways, and
    the layers stay unless their results are those of the code alone.
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled, self.code = compiled, _code_within(compiled)
        self.proved = False

    def __call__(self, values: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        if self.code is None:
            return self.compiled(*values)
        if self.proved:
            before = torch.is_grad_enabled()
            torch._C._set_grad_enabled(False)  # what torch.no_grad() does, in a tenth of its time
            try:
                return self.code(list(values))
            finally:
                torch._C._set_grad_enabled(before)
        wanted = self.compiled(*values)
        try:
            with torch.no_grad():
                found = self.code(list(values))
            self.proved = len(wanted) == len(found) and all(map(_same, wanted, found))
        except Exception:  # whatever it raises: the layers give it more, or less, than they are given
            self.proved = False
        if not self.proved:
            self.code = None
        return wanted


def _code_within(compiled: Any) -> Callable[[list[torch.Tensor]], Sequence[torch.Tensor]] | None:
    """What Inductor generated, found among the functions and objects that hold each other; None if it is not there."""
    from torch._inductor.output_code import CompiledFxGraph

    found, seen, within = [], set(), [compiled]
    while within:
        one = within.pop()
        if id(one) in seen or not getattr(type(one), "__module__", "").startswith(("torch", "builtins")):
            continue
        seen.add(id(one))
        if isinstance(one, CompiledFxGraph):
            found.append(one.current_callable)
        elif callable(one):
            for cell in getattr(one, "__closure__", None) or ():
                with suppress(ValueError):  # an empty cell
                    within.append(cell.cell_contents)
            within += getattr(one, "__dict__", {}).values()
    return found[0] if len(found) == 1 else None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    alike = (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
    return alike and (torch.equal(a, b) or bool(((a == b) | (a != a) & (b != b)).all()))


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
