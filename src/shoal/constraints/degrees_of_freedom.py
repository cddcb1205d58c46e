"""How many ways the atoms of a system can move."""

from __future__ import annotations

import torch

from shoal.motion import Systems


def degrees_of_freedom(systems: Systems, *, conserves_momentum: bool) -> torch.Tensor:
    """(S,) float64: 3 for each atom that moves, less 3 where the centre of mass stays or the total momentum does.

    The total momentum is conserved by methods that conserve it if no atom is fixed. Never negative.
    """
    moving = systems.sum((~systems.fixed).to(torch.float64))
    free = moving == systems.n_atoms
    held = systems.fixed_com | free if conserves_momentum else systems.fixed_com
    return (3 * moving - 3 * held).clamp(min=0)
