"""The kernels of `derivatives` as operators of torch that differentiate into each other, for eager and compiled graphs.

N rows of sums, M rows of features, E edges; X, S, W: sizes of a record of features, of sums and of radial weights as
the plan lays them out; H harmonics. A kernel is named by a word, because operators take tensors, numbers and words.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from shoal.errors import InputError
from shoal.native import load, pointer
from shoal.nn.convolution.native.derivatives import source_of
from shoal.nn.convolution.native.plan import ConvolutionPlan

Gradients = tuple[Tensor, Tensor, Tensor]

_PLANS: dict[str, tuple[ConvolutionPlan, torch.dtype]] = {}


def register(plan: ConvolutionPlan, dtype: torch.dtype) -> str:
    """The word for a plan's kernel; it is built when it is first called, or by `library`."""
    word = hashlib.sha256(repr((plan, dtype)).encode()).hexdigest()[:16]
    _PLANS[word] = plan, dtype
    return word


@cache
def library(word: str) -> ctypes.CDLL:
    """The kernel's library. Raises CompileError."""
    found = load(source_of(*_PLANS[word]))
    for name in ("convolve", "convolve_tangent", "convolve_backward", "convolve_backward_tangent"):
        getattr(found, name).restype = ctypes.c_bool
    return found


_COUNTS = ("n_centres", "n_sources", "n_edges", "threads")
_TENSORS = (
    *("centre", "source", "g", "x", "radial", "harmonics", "x_t", "radial_t", "harmonics_t"),
    *("sums", "to_x", "to_radial", "to_harmonics"),
)


class _Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _COUNTS] + [(name, ctypes.c_void_p) for name in _TENSORS]


def _run(word: str, name: str, n_centres: int, tensors: Mapping[str, Tensor | None]) -> None:
    kept = {key: None if value is None else value.contiguous() for key, value in tensors.items()}
    n_sources, n_edges = (0 if tensor is None else len(tensor) for tensor in (kept["x"], kept["centre"]))
    _check_forms(word, n_centres, n_sources, n_edges, kept)
    counts = n_centres, n_sources, n_edges, torch.get_num_threads()
    call = _Call(*counts, *(pointer(kept.get(key)) for key in _TENSORS))
    if not getattr(library(word), name)(ctypes.byref(call)):
        raise InputError(
            f"an edge of a convolution names a row that is not there: centres must lie in 0..{n_centres - 1}, "
            f"sources in 0..{n_sources - 1}"
        )


def _check_forms(word: str, n_centres: int, n_sources: int, n_edges: int, given: Mapping[str, Tensor | None]) -> None:
    """The kernel reads as many numbers, of the kind, as its plan says. Raises InputError."""
    plan, dtype = _PLANS[word]
    forms = {
        "centre": ((n_edges,), torch.int64),
        "source": ((n_edges,), torch.int64),
        "g": ((n_centres, plan.sums.size), dtype),
        "x": ((n_sources, plan.x.size), dtype),
        "radial": ((n_edges, plan.n_weights), dtype),
        "harmonics": ((n_edges, plan.n_harmonics), dtype),
    }
    for name, (shape, kind) in forms.items():
        for key in (name, f"{name}_t"):
            tensor = given.get(key)
            if tensor is not None and (tensor.shape != shape or tensor.dtype != kind):
                raise InputError(
                    f"{key} of a convolution must be {kind} {shape}, got {tensor.dtype} {tuple(tensor.shape)}"
                )


def _sums(word: str, x: Tensor, n_centres: int) -> Tensor:
    return x.new_empty((n_centres, _PLANS[word][0].sums.size))


def _gradients(x: Tensor, radial: Tensor, harmonics: Tensor, turns: bool) -> Gradients:
    return x.new_empty(x.shape), radial.new_empty(radial.shape), harmonics.new_empty(harmonics.shape if turns else (0,))


EDGES = "Tensor centre, Tensor source"
for _schema in (
    f"convolve(str kernel, Tensor x, Tensor radial, Tensor harmonics, {EDGES}, SymInt n_centres) -> Tensor",
    "convolve_tangent(str kernel, Tensor x, Tensor radial, Tensor harmonics, Tensor x_t, Tensor radial_t, "
    f"Tensor harmonics_t, {EDGES}, SymInt n_centres) -> Tensor",
    f"convolve_backward(str kernel, Tensor g, Tensor x, Tensor radial, Tensor harmonics, {EDGES}, bool turns) "
    "-> (Tensor, Tensor, Tensor)",
    "convolve_backward_tangent(str kernel, Tensor g, Tensor x, Tensor radial, Tensor harmonics, Tensor x_t, "
    f"Tensor radial_t, Tensor harmonics_t, {EDGES}, bool turns) -> (Tensor, Tensor, Tensor)",
):
    torch.library.define(f"shoal::{_schema.split('(')[0]}", f"({_schema.split('(', 1)[1]}")


@torch.library.impl("shoal::convolve", "cpu")
def _convolve(
    kernel: str, x: Tensor, radial: Tensor, harmonics: Tensor, centre: Tensor, source: Tensor, n_centres: int
) -> Tensor:
    """(N, S) from features (M, X), radial weights (E, W) and harmonics (E, H)."""
    sums = _sums(kernel, x, n_centres)
    given = {"x": x, "radial": radial, "harmonics": harmonics, "centre": centre, "source": source, "sums": sums}
    _run(kernel, "convolve", n_centres, given)
    return sums


@torch.library.impl("shoal::convolve_tangent", "cpu")
def _convolve_tangent(
    kernel: str,
    x: Tensor,
    radial: Tensor,
    harmonics: Tensor,
    x_t: Tensor,
    radial_t: Tensor,
    harmonics_t: Tensor,
    centre: Tensor,
    source: Tensor,
    n_centres: int,
) -> Tensor:
    sums = _sums(kernel, x, n_centres)
    given = {"x": x, "radial": radial, "harmonics": harmonics, "centre": centre, "source": source, "sums": sums}
    tangents = {"x_t": x_t, "radial_t": radial_t, "harmonics_t": harmonics_t}
    _run(kernel, "convolve_tangent", n_centres, {**given, **tangents})
    return sums


@torch.library.impl("shoal::convolve_backward", "cpu")
def _convolve_backward(
    kernel: str,
    g: Tensor,
    x: Tensor,
    radial: Tensor,
    harmonics: Tensor,
    centre: Tensor,
    source: Tensor,
    turns: bool,
) -> Gradients:
    """Gradients in x, radial weights and, if it `turns`, harmonics, from those in the sums."""
    out = _gradients(x, radial, harmonics, turns)
    given = {"g": g, "x": x, "radial": radial, "harmonics": harmonics, "centre": centre, "source": source}
    _run(kernel, "convolve_backward", g.shape[0], {**given, **_named(out, turns)})
    return out


@torch.library.impl("shoal::convolve_backward_tangent", "cpu")
def _convolve_backward_tangent(
    kernel: str,
    g: Tensor,
    x: Tensor,
    radial: Tensor,
    harmonics: Tensor,
    x_t: Tensor,
    radial_t: Tensor,
    harmonics_t: Tensor,
    centre: Tensor,
    source: Tensor,
    turns: bool,
) -> Gradients:
    out = _gradients(x, radial, harmonics, turns)
    given = {"g": g, "x": x, "radial": radial, "harmonics": harmonics, "centre": centre, "source": source}
    tangents = {"x_t": x_t, "radial_t": radial_t, "harmonics_t": harmonics_t}
    _run(kernel, "convolve_backward_tangent", g.shape[0], {**given, **tangents, **_named(out, turns)})
    return out


def _named(out: Gradients, turns: bool) -> Mapping[str, Tensor | None]:
    return {"to_x": out[0], "to_radial": out[1], "to_harmonics": out[2] if turns else None}


@torch.library.register_fake("shoal::convolve")
def _(kernel: str, x: Tensor, *others: Any) -> Tensor:
    return _sums(kernel, x, others[-1])


@torch.library.register_fake("shoal::convolve_tangent")
def _(kernel: str, x: Tensor, *others: Any) -> Tensor:
    return _sums(kernel, x, others[-1])


@torch.library.register_fake("shoal::convolve_backward")
def _(kernel: str, g: Tensor, x: Tensor, radial: Tensor, harmonics: Tensor, *others: Any) -> Gradients:
    return _gradients(x, radial, harmonics, others[-1])


@torch.library.register_fake("shoal::convolve_backward_tangent")
def _(kernel: str, g: Tensor, x: Tensor, radial: Tensor, harmonics: Tensor, *others: Any) -> Gradients:
    return _gradients(x, radial, harmonics, others[-1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """All tensors that enter, for the gradient."""
    ctx.set_materialize_grads(False)
    ctx.kernel, ctx.last = inputs[0], inputs[-1]
    ctx.save_for_backward(*inputs[1:-1])


def _convolve_gradient(ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
    if g is None:
        return (None,) * 7
    turns = ctx.needs_input_grad[3]
    to = torch.ops.shoal.convolve_backward(ctx.kernel, g, *ctx.saved_tensors, turns)
    return None, to[0], to[1], to[2] if turns else None, None, None, None


def _backward_gradient(ctx: Any, *tangents: Tensor | None) -> tuple[Any, ...]:
    g, x, radial, harmonics, centre, source = ctx.saved_tensors
    if all(each is None for each in tangents):
        return (None,) * 8
    turns, of = ctx.needs_input_grad[4], (x, radial, harmonics)
    moved = (torch.zeros_like(a) if t is None or t.shape != a.shape else t for t, a in zip(tangents, of, strict=True))
    given, edges = (*of, *moved), (centre, source)
    to_g = torch.ops.shoal.convolve_tangent(ctx.kernel, *given, *edges, g.shape[0])
    to = torch.ops.shoal.convolve_backward_tangent(ctx.kernel, g, *given, *edges, turns)
    return None, to_g, to[0], to[1], to[2] if turns else None, None, None, None


def _no_third_gradient(ctx: Any, *gradients: Any) -> None:
    raise NotImplementedError("the native convolution has first and second derivatives; use 'reference' for more")


torch.library.register_autograd("shoal::convolve", _convolve_gradient, setup_context=_keep)
torch.library.register_autograd("shoal::convolve_backward", _backward_gradient, setup_context=_keep)
for _name in ("convolve_tangent", "convolve_backward_tangent"):
    torch.library.register_autograd(f"shoal::{_name}", _no_third_gradient)
