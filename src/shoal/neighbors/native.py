"""CPU neighbour lists, and what is made of them, by C++ kernels of our own.

N atoms, E edges, S systems, I images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CDLL, c_char_p, c_double, c_int, c_int64, c_void_p
from functools import cache
from typing import Any, NamedTuple

import torch

from shoal.errors import CompileError, InputError
from shoal.native import function, kernel, threads_for
from shoal.neighbors.pairs import Geometry, Pairs
from shoal.state import SimState

ATOMS_OF_A_THREAD = 64
"""Atoms whose neighbours are to be found are worth waking a thread for,"""
ROWS_OF_A_THREAD = 512
"""and so are rows of known neighbours that are copied or packed."""
FAILURES = {
    1: "an atom lies more than 1e9 cells outside its cell",
    2: "its cell is so small or flat that more than 2e9 images of atoms are within the cutoff",
    3: "its pairs do not fit into memory",
}
SOURCES = ("neighbors.cpp", "neighbor_rows.cpp")
LANES = 8
"""Rows of packed neighbours are filled up to a multiple of this."""


class Packed(NamedTuple):
    """Rows of images (R,) int32, `starts` (N+1,) int64 where each begins; filled up with the number I of images.

    back (R,) int32 is the place of the reverse edge; owner (I,) int32 the atom that an image is of and shift (I, 3)
    float64 the lattice translation it is displaced by.
    """

    starts: torch.Tensor
    neighbor: torch.Tensor
    back: torch.Tensor
    owner: torch.Tensor
    shift: torch.Tensor


@cache
def is_available() -> bool:
    """Whether the kernels can be had here: a C++ compiler makes them, or has made them before."""
    return all(kernel(source) is not None for source in SOURCES)


def is_sound(state: SimState) -> bool:
    """Whether positions and cells, float64 on the CPU, are what `check_geometry` accepts; it says what is wrong."""
    if state.device.type != "cpu":
        return False
    values = (state.offsets, state.positions, state.cell, state.pbc)
    return bool(_functions()["geometry_sound"](state.n_systems, *(each.contiguous() for each in values)))


def native_pairs(geometry: Geometry, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), rows in order of (neighbour, shift), with offsets and reverse.

    The list of a system depends on nothing but that system. Raises CompileError where there is no C++ compiler, and
    InputError for an atom 1e9 cells away from its cell, a cell with 2e9 images within the cutoff, and too many pairs.
    """
    call, threads = _functions(), threads_for(geometry.n_atoms, ATOMS_OF_A_THREAD)
    offsets = torch.empty(geometry.n_atoms + 1, dtype=torch.int64)
    failure = torch.zeros(2, dtype=torch.int64)
    inputs = [values.contiguous() for values in (geometry.offsets, geometry.positions, geometry.cell, geometry.pbc)]
    handle = call["neighbors_search"](geometry.n_systems, *inputs, cutoff, threads, offsets, failure)
    status, system = failure.tolist()
    if status:
        raise InputError(f"system {system} of the batch: {FAILURES[status]}")
    found = _empty(int(offsets[-1]))
    call["neighbors_fill"](handle, threads, found.edge_index, found.shifts, found.reverse)
    return found._replace(offsets=offsets)


@cache
def evaluation() -> Callable[..., int]:
    """C's neighbors_evaluate(kernel, call, atoms, pbc, cutoff, threads): pairs are listed and handed to a kernel.

    Addresses as numbers, `call` as bytes (call.h). Raises CompileError where there is no C++ compiler.
    """
    found = _library()["neighbors_evaluate"]
    found.argtypes = [c_void_p, c_char_p, c_void_p, c_void_p, c_double, c_int]
    found.restype = c_int64
    return found


def native_within(
    pairs: Pairs, positions: torch.Tensor, cell: torch.Tensor, system_index: torch.Tensor, cutoff: float
) -> Pairs:
    """The pairs that are within `cutoff` at positions (N, 3) and cells (S, 3, 3) float64; reverse if it was known."""
    call, n_atoms = _functions(), positions.shape[0]
    threads = threads_for(n_atoms, ATOMS_OF_A_THREAD)
    assert pairs.offsets is not None
    offsets = torch.empty_like(pairs.offsets)
    places = torch.empty(len(pairs.shifts), dtype=torch.int64)
    edges = (pairs.offsets, pairs.edge_index[1], pairs.shifts)
    where = (positions.detach().contiguous(), cell.detach().contiguous(), system_index)
    call["within_count"](n_atoms, *edges, *where, cutoff, threads, places, offsets)
    near = _empty(int(offsets[-1]))
    reverse = None if pairs.reverse is None else near.reverse
    call["within_fill"](n_atoms, *edges, pairs.reverse, offsets, threads, places, near.edge_index, near.shifts, reverse)
    return near._replace(offsets=offsets, reverse=reverse)


def native_copy(lists: Sequence[Pairs], blocks: torch.Tensor, first_edges: torch.Tensor) -> Pairs:
    """Blocks of rows of several lists one behind the other.

    blocks (B, 4) int64: a list, its first atom there, how many, and the first atom here; first_edges (B+1,) here.
    """
    columns = [(*p.edge_index.unbind(0), p.shifts, p.offsets, p.reverse) for p in lists]
    table = torch.tensor([[column.data_ptr() for column in row] for row in columns])  # type: ignore[union-attr]
    copied = _empty(int(first_edges[-1]))
    offsets = torch.zeros(int(blocks[:, 2].sum()) + 1, dtype=torch.int64)
    to = (copied.edge_index, copied.shifts, offsets, copied.reverse)
    n_edges, threads = len(copied.shifts), threads_for(len(offsets) - 1, ROWS_OF_A_THREAD)
    _functions()["copy_blocks"](len(blocks), blocks.contiguous(), first_edges, table, n_edges, threads, *to)
    return copied._replace(offsets=offsets)


def native_packed(pairs: Pairs) -> Packed:
    """The rows of a list with offsets and reverse, their neighbours as numbers of images."""
    call = _functions()
    assert pairs.offsets is not None
    n_atoms, n_edges = len(pairs.offsets) - 1, len(pairs.shifts)
    threads = threads_for(n_atoms, ROWS_OF_A_THREAD)
    image = torch.empty(n_edges, dtype=torch.int32)
    images, starts = torch.empty_like(pairs.offsets), torch.empty_like(pairs.offsets)
    call["pack_count"](n_atoms, pairs.offsets, pairs.shifts, LANES, threads, image, images, starts)
    n_images, n_places = int(images[-1]), int(starts[-1])
    neighbor, back = torch.empty(2, n_places, dtype=torch.int32).unbind(0)
    owner, shift = torch.empty(n_images, dtype=torch.int32), torch.empty(n_images, 3, dtype=torch.float64)
    edges = (pairs.offsets, pairs.edge_index[1], pairs.shifts, pairs.reverse)
    call["pack_fill"](n_atoms, *edges, image, images, starts, threads, neighbor, back, owner, shift)
    return Packed(starts, neighbor, back, owner, shift)


def _empty(n_edges: int) -> Pairs:
    return Pairs(
        torch.empty(2, n_edges, dtype=torch.int64),
        torch.empty(n_edges, 3, dtype=torch.int64),
        None,
        torch.empty(n_edges, dtype=torch.int64),
    )


def _library(source: str = SOURCES[0]) -> CDLL:
    found = kernel(source)
    if found is None:
        raise CompileError("there is no C++ kernel for neighbour lists here; shoal doctor says why")
    return found


@cache
def _functions() -> dict[str, Callable[..., Any]]:
    lists, rows = map(_library, SOURCES)
    return {
        "neighbors_search": function(lists, "neighbors_search", "lppppdipp", "p"),
        "geometry_sound": function(lists, "geometry_sound", "lpppp", "l"),
        "neighbors_fill": function(lists, "neighbors_fill", "pippp"),
        "within_count": function(rows, "within_count", "lppppppdipp"),
        "within_fill": function(rows, "within_fill", "lpppppipppp"),
        "copy_blocks": function(rows, "copy_blocks", "lppplipppp"),
        "pack_count": function(rows, "pack_count", "lpplippp"),
        "pack_fill": function(rows, "pack_fill", "lpppppppipppp"),
    }
