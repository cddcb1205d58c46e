"""CUDA neighbour lists by NVIDIA's nvalchemi-toolkit-ops, all systems in one call."""

from __future__ import annotations

import torch

from shoal.errors import MissingDependencyError
from shoal.neighbors.pairs import Pairs
from shoal.state import SimState


def nvalchemi_pairs(state: SimState, cutoff: float) -> Pairs:
    """All directed pairs within `cutoff` (A), sorted by centre, on the state's device.

    Raises MissingDependencyError when nvalchemi-toolkit-ops is absent.
    """
    try:
        from nvalchemiops.torch.neighbors import neighbor_list
    except ImportError as error:
        raise MissingDependencyError(
            "neighbour lists on a GPU need nvalchemi-toolkit-ops: pip install 'shoal[gpu]'"
        ) from error
    pairs, _, shifts = neighbor_list(
        state.positions,
        cutoff,
        cell=state.cell,
        pbc=state.pbc,
        batch_idx=state.system_index.to(torch.int32),
        batch_ptr=state.offsets.to(device=state.device, dtype=torch.int32),
        method="batch_cell_list",
        half_fill=False,
        return_neighbor_list=True,
    )
    i, order = torch.sort(pairs[0].to(torch.int64), stable=True)
    return Pairs(i, pairs[1].to(torch.int64)[order], shifts.to(torch.int64)[order])
