"""One guarded step of everything that is resident: what moved wrongly is told, what is frozen stays.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from shoal.errors import InputError
from shoal.motion import Evaluate, Evaluation, Frame, Systems

State = TypeVar("State", bound=Frame)


class Mover(Protocol[State]):
    """An integrator or an optimizer, as the loop sees it."""

    @property
    def moves_cell(self) -> bool: ...

    def step(self, state: State, systems: Systems, evaluate: Evaluate) -> State: ...


@dataclass(frozen=True)
class Limits:
    """Beyond these a system has exploded: the way of an atom in one step (A), and the force on one (eV/A)."""

    max_move: float = 1.0
    max_force: float = 1e4

    def __post_init__(self) -> None:
        if not (self.max_move > 0 and self.max_force > 0):
            raise InputError(f"max_move and max_force must be positive, got {self.max_move} and {self.max_force}")


def wild_atoms(new: Frame, old: Frame, limits: Limits) -> torch.Tensor:
    """(N,) bool: atoms that went too far in this step, or nowhere that is a number."""
    return ~((new.positions - old.positions).square().sum(1) <= limits.max_move**2)


def torn_atoms(frame: Frame, limits: Limits) -> torch.Tensor:
    """(N,) bool: atoms with a force beyond the limit, or none that is a number."""
    return ~(frame.forces.square().sum(1) <= limits.max_force**2)


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
    limits: Limits,
) -> tuple[State, torch.Tensor]:
    """The next frame, in which systems that are not `active` (S,) bool stay as they are, and what to look at.

    `used_skin`: positions and cell to the share of the skin used (N,). The second value is (3,) bool, over all active
    systems: has any atom moved too far, is the neighbour list too short for any, is any result out of bounds?
    A pure function of tensors, so that it can be compiled.
    """
    moving = active[systems.system_index]

    def held(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        return evaluate(
            torch.where(moving[:, None], positions, frame.positions),
            torch.where(active[:, None, None], cell, frame.cell) if mover.moves_cell else frame.cell,
        )

    new = mover.step(frame, systems, held)
    wild = (wild_atoms(new, frame, limits) & moving).any()
    stale = (~(used_skin(new.positions, new.cell) <= 1) & moving).any()
    broken = (torn_atoms(new, limits) & moving).any() | (broken_systems(new) & active).any()
    return new.where(active, systems.system_index, frame), torch.stack((wild, stale, broken))
