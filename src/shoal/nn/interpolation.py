"""Sums of four rows of a table with factors, as a spline takes them; on a CPU by a kernel.

E edges, K pieces, W weights. What is summed is linear in the table and in the factors: the operators are each other's
gradients, any number of times.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from shoal.native import load, pointer, shipped
from shoal.nn.segments import gather


def interpolate(table: Tensor, factors: Tensor, piece: Tensor) -> Tensor:
    """(E, W): sum over j of factors (E, 4) times the rows j of table (K, 4, W) at piece (E,) int64."""
    return (factors[:, :, None] * gather(table, piece)).sum(dim=1)


def interpolate_native(table: Tensor, factors: Tensor, piece: Tensor) -> Tensor:
    """The same by a C++ kernel on a CPU; pieces must be from 0 to K - 1. Raises CompileError."""
    return torch.ops.shoal.interpolate(table, factors, piece)


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernels in one precision. Raises CompileError."""
    return load(shipped("interpolation.h"), {"REAL": "float" if dtype == torch.float32 else "double"})


for _schema in (
    "interpolate(Tensor table, Tensor factors, Tensor piece) -> Tensor",
    "interpolate_factors(Tensor g, Tensor table, Tensor piece) -> Tensor",
    "interpolate_table(Tensor g, Tensor factors, Tensor piece, SymInt n_pieces) -> Tensor",
):
    torch.library.define(f"shoal::{_schema.split('(')[0]}", f"({_schema.split('(', 1)[1]}")


def _run(name: str, counts: tuple[int, ...], *tensors: Tensor) -> None:
    numbers = [ctypes.c_int64(count) for count in (*counts, torch.get_num_threads())]
    getattr(library(tensors[-1].dtype), name)(*numbers, *map(pointer, tensors))


@torch.library.impl("shoal::interpolate", "cpu")
def _interpolate(table: Tensor, factors: Tensor, piece: Tensor) -> Tensor:
    out = _of_interpolate(table, factors, piece)
    kept = piece.contiguous(), table.contiguous(), factors.contiguous(), out
    _run("interpolate", (len(piece), table.shape[2]), *kept)
    return out


@torch.library.impl("shoal::interpolate_factors", "cpu")
def _interpolate_factors(g: Tensor, table: Tensor, piece: Tensor) -> Tensor:
    out = _of_factors(g, table, piece)
    kept = piece.contiguous(), table.contiguous(), g.contiguous(), out
    _run("interpolate_factors", (len(piece), table.shape[2]), *kept)
    return out


@torch.library.impl("shoal::interpolate_table", "cpu")
def _interpolate_table(g: Tensor, factors: Tensor, piece: Tensor, n_pieces: int) -> Tensor:
    out = _of_table(g, factors, piece, n_pieces)
    kept = piece.contiguous(), factors.contiguous(), g.contiguous(), out
    _run("interpolate_table", (n_pieces, len(piece), g.shape[1]), *kept)
    return out


@torch.library.register_fake("shoal::interpolate")
def _of_interpolate(table: Tensor, factors: Tensor, piece: Tensor) -> Tensor:
    return table.new_empty((piece.shape[0], table.shape[2]))


@torch.library.register_fake("shoal::interpolate_factors")
def _of_factors(g: Tensor, table: Tensor, piece: Tensor) -> Tensor:
    return g.new_empty((piece.shape[0], 4))


@torch.library.register_fake("shoal::interpolate_table")
def _of_table(g: Tensor, factors: Tensor, piece: Tensor, n_pieces: int) -> Tensor:
    return g.new_empty((n_pieces, 4, g.shape[1]))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.n_pieces = inputs[0].shape[0]


def _keep_second(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.n_pieces = inputs[1].shape[0]


def _interpolate_gradient(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    table, factors, piece = ctx.saved_tensors
    ops = torch.ops.shoal
    return ops.interpolate_table(g, factors, piece, ctx.n_pieces), ops.interpolate_factors(g, table, piece), None


def _factors_gradient(ctx: Any, factors: Tensor) -> tuple[Tensor | None, ...]:
    g, table, piece = ctx.saved_tensors
    ops = torch.ops.shoal
    return ops.interpolate(table, factors, piece), ops.interpolate_table(g, factors, piece, ctx.n_pieces), None


def _table_gradient(ctx: Any, table: Tensor) -> tuple[Tensor | None, ...]:
    g, factors, piece = ctx.saved_tensors
    ops = torch.ops.shoal
    return ops.interpolate(table, factors, piece), ops.interpolate_factors(g, table, piece), None, None


torch.library.register_autograd("shoal::interpolate", _interpolate_gradient, setup_context=_keep)
torch.library.register_autograd("shoal::interpolate_factors", _factors_gradient, setup_context=_keep_second)
torch.library.register_autograd("shoal::interpolate_table", _table_gradient, setup_context=_keep)
