"""What makes a packed state unusable.

N atoms, S systems.
"""

from __future__ import annotations

import torch

from shoal.errors import InputError
from shoal.state.sim_state import SimState

DEGENERATE = 1e-6
"""Least length, area or volume of the periodic lattice vectors, as a share of the product of their lengths."""


def check_geometry(state: SimState) -> None:
    """Refuse positions and cells that are not finite, and dependent lattice vectors of periodic axes.

    Raises InputError naming the system by its id. Native neighbour-list code would take the process down instead.
    """
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
