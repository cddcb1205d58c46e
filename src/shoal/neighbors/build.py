"""One call that builds the neighbour list of many systems."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch

from shoal.errors import InputError
from shoal.neighbors.native import is_available, is_sound, native_pairs
from shoal.neighbors.neighbor_list import NeighborList
from shoal.neighbors.nvalchemi import nvalchemi_pairs
from shoal.neighbors.pairs import Geometry, Pairs
from shoal.neighbors.reference import reference_pairs
from shoal.neighbors.vesin import vesin_pairs
from shoal.state import SimState, check_geometry

BACKENDS: dict[str, Callable[[Geometry, float], Pairs]] = {
    "native": native_pairs,
    "vesin": vesin_pairs,
    "reference": reference_pairs,
    "nvalchemi": nvalchemi_pairs,
}
ON_HOST = ("native", "vesin")


def neighbor_list(state: SimState, cutoff: float, skin: float = 0.0, *, backend: str = "auto") -> NeighborList:
    """The neighbour list of every system of a state, whatever its size, cell and periodicity.

    cutoff, skin: A. `backend`: native or vesin (CPU), nvalchemi (CUDA), reference (plain torch, slow), or auto: by
    device, and native where a C++ compiler has made it or can make it.
    Pairs are found in float64 whatever the state's dtype. Raises InputError for an unknown backend, a cutoff that is
    not positive, and, naming the system, for numbers that are not finite and dependent periodic lattice vectors.
    """
    if not (0 < cutoff < inf and 0 <= skin < inf):
        raise InputError(f"cutoff must be positive and skin not negative, got {cutoff} and {skin}")
    if backend == "auto":
        backend = "nvalchemi" if state.device.type == "cuda" else "native" if is_available() else "vesin"
    if backend not in BACKENDS:
        raise InputError(f"unknown neighbour-list backend {backend!r}; there are {', '.join(BACKENDS)}")
    exact = state.to(dtype=torch.float64)
    if not (backend == "native" and is_sound(exact)):
        check_geometry(exact)  # says what is wrong
    geometry = Geometry(
        positions=exact.positions.detach().clone(memory_format=torch.contiguous_format),
        cell=torch.where(exact.pbc[:, :, None], exact.cell.detach(), 0.0),
        pbc=state.pbc,
        system_index=state.system_index,
        offsets=state.offsets,
    )
    pairs = BACKENDS[backend](geometry.on_host() if backend in ON_HOST else geometry, cutoff + skin)
    neighbors = NeighborList(
        edge_index=pairs.edge_index.to(state.device),
        shifts=pairs.shifts.to(state.device),
        system_index=state.system_index,
        positions=geometry.positions,
        cell=geometry.cell,
        pbc=state.pbc,
        cutoff=float(cutoff),
        skin=float(skin),
    )
    rows = (None if row is None else row.to(state.device) for row in (pairs.offsets, pairs.reverse))
    return neighbors.with_rows(*rows)
