"""What makes a packed state unusable.

N atoms, S systems.
"""

from __future__ import annotations

import numpy as np
import torch

from shoal.errors import InputError
from shoal.state.sim_state import SimState

DEGENERATE = 1e-6
"""Least length, area or volume of the periodic lattice vectors, as a share of the product of their lengths."""


def check_geometry(state: SimState) -> None:
    """Refuse positions and cells that are not finite, and dependent lattice vectors of periodic axes.

    Raises InputError naming the system by its id. Native neighbour-list code would take the process down instead.
    """
    if state.device.type == "cpu" and _plainly_sound(state):
        return
    finite = torch.isfinite(state.positions).all(1)
    finite_cell = torch.isfinite(state.cell).flatten(1).all(1)
    lengths = state.cell.norm(dim=2, keepdim=True)
    unit = torch.where(state.pbc[:, :, None], state.cell / torch.where(lengths > 0, lengths, 1.0), 0.0)
    gram = unit @ unit.transpose(1, 2) + torch.diag_embed((~state.pbc).to(unit.dtype))
    independent = torch.linalg.det(gram) > DEGENERATE**2
    if bool(finite.all() & finite_cell.all() & independent.all()):
        return
    if not bool(finite.all()):
        atom = int((~finite).nonzero()[0])
        system = int(state.system_index[atom])
        what = f"the position of atom {atom - int(state.offsets[system])} is not finite"
    elif not bool(finite_cell.all()):
        system = int((~finite_cell).nonzero()[0])
        what = "its cell is not finite"
    else:
        system = int((~independent).nonzero()[0])
        what = "the lattice vectors of its periodic axes are zero or linearly dependent"
    raise InputError(f"system {int(state.system_id[system])}: {what}")


def _plainly_sound(state: SimState) -> bool:
    """Accepts what is common at little cost: finite sums, and cells periodic along all axes with a volume.

    On the host by numpy, whose calls cost a fraction of torch's on tensors this small.
    """
    positions, cell, pbc = (values.detach().numpy() for values in (state.positions, state.cell, state.pbc))
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(positions.sum() + cell.sum())
    if not (finite and pbc.all()):
        return False
    a, b, c = cell[:, 0], cell[:, 1], cell[:, 2]
    volume = np.abs(
        a[:, 0] * (b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1])
        + a[:, 1] * (b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2])
        + a[:, 2] * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    )
    return bool((volume > DEGENERATE * np.sqrt(np.square(cell).sum(2)).prod(1)).all())
