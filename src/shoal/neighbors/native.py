"""CPU neighbour lists by a C++ kernel of our own, all systems in one call.

N atoms, E edges, S systems.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch

from shoal.errors import CompileError, InputError
from shoal.native import load, pointer, shipped
from shoal.neighbors.pairs import Geometry, Pairs

FAILURES = {
    1: "an atom lies more than 1e9 cells outside its cell",
    2: "its cell is so small or flat that more than 2e9 images of atoms are within the cutoff",
}


def native_pairs(geometry: Geometry, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), rows in order of (neighbour, shift), with offsets and reverse.

    The list of a system depends on nothing but that system. Raises CompileError where there is no C++ compiler, and
    InputError for an atom 1e9 cells away from its cell and for a cell with 2e9 images within the cutoff.
    """
    search, fill = _functions()
    n_atoms, threads = geometry.n_atoms, torch.get_num_threads()
    offsets = torch.empty(n_atoms + 1, dtype=torch.int64)
    failure = torch.zeros(2, dtype=torch.int64)
    inputs = [values.contiguous() for values in (geometry.offsets, geometry.positions, geometry.cell, geometry.pbc)]
    handle = search(geometry.n_systems, *map(pointer, inputs), cutoff, threads, pointer(offsets), pointer(failure))
    status, system = failure.tolist()
    if status:
        raise InputError(f"system {system} of the batch: {FAILURES[status]}")
    n_edges = int(offsets[-1])
    edge_index = torch.empty(2, n_edges, dtype=torch.int64)
    shifts = torch.empty(n_edges, 3, dtype=torch.int64)
    reverse = torch.empty(n_edges, dtype=torch.int64)
    fill(handle, threads, pointer(edge_index), pointer(shifts), pointer(reverse))
    return Pairs(edge_index, shifts, offsets, reverse)


@cache
def _functions() -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]:
    library = load(shipped("neighbors.cpp"))
    address = ctypes.c_void_p
    search, fill = library.neighbors_search, library.neighbors_fill
    search.restype = address
    search.argtypes = [
        ctypes.c_int64,
        *[address] * 4,
        ctypes.c_double,
        ctypes.c_int,
        address,
        address,
    ]
    fill.restype = None
    fill.argtypes = [address, ctypes.c_int, address, address, address]
    return search, fill


@cache
def is_available() -> bool:
    """Whether the kernel can be had here: built or in the cache."""
    try:
        _functions()
    except CompileError:
        return False
    return True
