"""One guarded step of everything that is resident: what moved wrongly is told, what is frozen stays.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from shoal.errors import InputError
from shoal.motion import Evaluate, Evaluation, Frame, Rows, Systems, per_system

State = TypeVar("State", bound=Frame)


class Mover(Protocol[State]):
    """An integrator or an optimizer, as the loop sees it."""

    @property
    def moves_cell(self) -> bool: ...

    @property
    def step_key(self) -> Hashable: ...

    def step(self, state: State, systems: Systems, evaluate: Evaluate) -> State: ...


@dataclass(frozen=True)
class Limits:
    """Beyond these a system has exploded: the way of an atom in one step (A), and the force on one that is not fixed
    (eV/A)."""

    max_move: float = 1.0
    max_force: float = 1e4

    def __post_init__(self) -> None:
        if not (self.max_move > 0 and self.max_force > 0):
            raise InputError(f"max_move and max_force must be positive, got {self.max_move} and {self.max_force}")


@dataclass(frozen=True, eq=False)
class Goal(Rows):
    """When a relaxation is done: the largest force (S,) eV/A and stress (S,) GPa, infinite where any will do."""

    fmax: torch.Tensor = per_system()
    stress_max: torch.Tensor = per_system()


def is_done(mover: Any, systems: Systems, goal: Goal, frame: Frame) -> torch.Tensor:
    """(S,) bool: which systems an optimizer has brought to their goal."""
    return mover.converged(frame, systems, goal.fmax, goal.stress_max)


def wild_atoms(new: Frame, old: Frame, carried: torch.Tensor, limits: Limits) -> torch.Tensor:
    """(N,) bool: atoms that went too far in this step, or nowhere that is a number.

    `carried` (N, 3) A: how far the cell's deformation took them, which depends on the origin and does not count.
    """
    return ~((new.positions - old.positions - carried).square().sum(1) <= limits.max_move * limits.max_move)


def torn_atoms(frame: Frame, systems: Systems, limits: Limits) -> torch.Tensor:
    """(N,) bool: atoms with a force beyond the limit, or none that is a number; on a fixed atom any number will do."""
    squared = frame.forces.square().sum(1)
    return ~((squared <= limits.max_force * limits.max_force) | (systems.fixed & torch.isfinite(squared)))


def broken_systems(frame: Frame) -> torch.Tensor:
    """(S,) bool: systems without a finite energy or cell."""
    return ~(torch.isfinite(frame.energy) & torch.isfinite(frame.cell).flatten(1).all(1))


def advance(
    mover: Mover[State],
    frame: State,
    systems: Systems,
    active: torch.Tensor,
    evaluate: Evaluate,
    used_skin: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    carried: Callable[[torch.Tensor], torch.Tensor],
    limits: Limits,
    done: Callable[[State], torch.Tensor] | None = None,
) -> tuple[State, torch.Tensor, torch.Tensor]:
    """The next frame, in which systems that are not `active` (S,) bool stay as they are, and what to look at.

    `used_skin`: positions and cell to the share of the skin used (N,); `carried`: a change of the cell to the way atoms
    go with it (N, 3). The second value is (4,) bool, over all active
    systems: has any atom moved too far, is the neighbour list too short for any, is any result out of bounds, is any
    system done? The third is (S,) bool: which are `done`, which maps a frame to that.
    A pure function of tensors, so that it can be compiled.
    """
    moving = active[systems.system_index]

    def held(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        return evaluate(
            torch.where(moving[:, None], positions, frame.positions),
            torch.where(active[:, None, None], cell, frame.cell) if mover.moves_cell else frame.cell,
        )

    new = mover.step(frame, systems, held)
    along = carried(new.cell - frame.cell) if mover.moves_cell else torch.zeros_like(new.positions)
    wild = (wild_atoms(new, frame, along, limits) & moving).any()
    stale = (~(used_skin(new.positions, new.cell) <= 1) & moving).any()
    broken = (torn_atoms(new, systems, limits) & moving).any() | (broken_systems(new) & active).any()
    finished = torch.zeros_like(active) if done is None else done(new) & active
    any_finished = torch.zeros((), dtype=torch.bool, device=wild.device) if done is None else finished.any()
    flags = torch.stack((wild, stale, broken, any_finished))
    return new.where(active, systems.system_index, frame), flags, finished
