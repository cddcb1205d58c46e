"""CUDA neighbour lists by NVIDIA's nvalchemi-toolkit-ops, all systems in one call.

N atoms, S systems.
"""

from __future__ import annotations

import torch

from shoal.errors import MissingDependencyError
from shoal.neighbors.pairs import Geometry, Pairs


def nvalchemi_pairs(geometry: Geometry, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), sorted by centre, on their device.

    Raises MissingDependencyError when nvalchemi-toolkit-ops is absent.
    """
    try:
        from nvalchemiops.neighbors.neighbor_utils import NeighborOverflowError
        from nvalchemiops.torch.neighbors import neighbor_list
    except ImportError as error:
        raise MissingDependencyError(
            "neighbour lists on a GPU need nvalchemi-toolkit-ops: pip install 'shoal[gpu]'"
        ) from error
    if geometry.n_atoms == 0:
        return Pairs.empty(geometry.device)
    positions, cell = _boxed(geometry)

    def search(max_neighbors: int | None) -> tuple[torch.Tensor, ...]:
        return neighbor_list(
            positions,
            cutoff,
            cell=cell,
            pbc=geometry.pbc,
            batch_idx=geometry.system_index.to(torch.int32),
            batch_ptr=geometry.offsets.to(device=geometry.device, dtype=torch.int32),
            method="batch_cell_list",
            half_fill=False,
            return_neighbor_list=True,
            max_neighbors=max_neighbors,
        )

    try:
        pairs, _, shifts = search(None)
    except NeighborOverflowError as overflow:
        pairs, _, shifts = search(overflow.num_neighbors)
    order = torch.argsort(pairs[0], stable=True)
    return Pairs(pairs.to(torch.int64)[:, order], shifts.to(torch.int64)[order])


def _boxed(geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (N, 3) and cells (S, 3, 3) for the library's grid, which needs a volume.

    Axes that are not periodic get vectors normal to the periodic ones and to each other, long enough to hold the
    atoms, which are moved along them into the cell; so pairs and shifts stay what they were.
    """
    if bool(geometry.pbc.all()):
        return geometry.positions, geometry.cell
    periodic = torch.where(geometry.pbc[:, :, None], geometry.cell, 0.0)
    # the right singular vectors of vanishing singular values come last: they span what the periodic axes do not
    normals = torch.linalg.svd(periodic).Vh
    open_axes = ~geometry.pbc
    position_in_normals = geometry.pbc.sum(1, keepdim=True) + open_axes.cumsum(1) - 1
    normals = normals.gather(1, position_in_normals.clamp(max=2)[:, :, None].expand(-1, -1, 3))  # (S, 3, 3) by axis
    along = (geometry.positions[:, None, :] * normals[geometry.system_index]).sum(2)  # (N, 3)
    index = geometry.system_index[:, None].expand(-1, 3)
    low = torch.full_like(periodic[:, 0], float("inf")).scatter_reduce(0, index, along, "amin")
    high = torch.full_like(periodic[:, 0], float("-inf")).scatter_reduce(0, index, along, "amax")
    margin = 1.0
    vectors = ((high - low).clamp(min=0.0) + 2 * margin)[:, :, None] * normals
    cell = torch.where(open_axes[:, :, None], vectors, periodic)
    step = torch.where(open_axes[:, :, None], (margin - low)[:, :, None] * normals, 0.0).sum(1)
    return geometry.positions + step[geometry.system_index], cell
