"""The constraints of structures, as what the steps of a run look at.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.constraints.kinds import Constraint, FixAtoms, FixCenterOfMass
from shoal.errors import InputError
from shoal.state import SimState

if TYPE_CHECKING:
    from ase.constraints import FixConstraint


def constrained(
    state: SimState, constraints: Sequence[Constraint | FixConstraint] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The atoms that stay where they are (N,) bool, and the systems whose centre of mass does (S,) bool.

    Every system keeps the ASE constraints its structure came with (`ase.constraints.FixAtoms` and `FixCom`);
    `constraints`, ours or ASE's, hold for every system in addition. Raises InputError naming the system for any
    other constraint, for atoms that are not there, and for a fixed centre of mass together with fixed atoms.
    """
    if constraints is not None and not isinstance(constraints, Sequence):
        raise InputError(f"constraints= takes a sequence of constraints, got {constraints!r}")
    for_all = [_ours(constraint, "constraints=") for constraint in constraints or ()]
    fixed, fixed_com = np.zeros(state.n_atoms, dtype=bool), np.zeros(state.n_systems, dtype=bool)
    offsets = state.offsets.tolist()
    for s in range(state.n_systems):
        name = f"system {int(state.system_id[s])}"
        carried = () if state.sources is None else state.sources[s].constraints
        atoms = slice(offsets[s], offsets[s + 1])
        for constraint in (*(_ours(constraint, name) for constraint in carried), *for_all):
            if isinstance(constraint, FixCenterOfMass):
                fixed_com[s] = True
                continue
            try:
                fixed[atoms] |= constraint.of(offsets[s + 1] - offsets[s])
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
        if fixed_com[s] and fixed[atoms].any():
            raise InputError(f"{name}: fixed atoms and a fixed centre of mass contradict each other; choose one")
    return torch.as_tensor(fixed, device=state.device), torch.as_tensor(fixed_com, device=state.device)


def _ours(constraint: Constraint | FixConstraint, where: str) -> Constraint:
    if isinstance(constraint, FixAtoms | FixCenterOfMass):
        return constraint
    from ase.constraints import FixAtoms as AseFixAtoms
    from ase.constraints import FixCom

    # by the class itself: what derives from it may hold something else, as FixSubsetCom does
    if type(constraint) is AseFixAtoms:
        return FixAtoms(indices=constraint.index)
    if type(constraint) is FixCom:
        return FixCenterOfMass()
    raise InputError(
        f"{where}: the constraint {type(constraint).__name__} is unknown here; there are FixAtoms and FixCom. If it "
        "need not hold, take it off the structure with atoms.set_constraint()"
    )
