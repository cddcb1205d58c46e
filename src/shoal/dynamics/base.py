"""What every integrator is, and the state it carries.

N atoms, S systems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch

from shoal.motion import Evaluate, Frame, PerSystem, Systems, per_atom, per_system
from shoal.parameters import check_whole


@dataclass(frozen=True, eq=False)
class MDState(Frame):
    """A frame with velocities (N, 3) A/fs, the timestep (S,) fs, and steps done.

    step (S,) int64 counts from the system's first run on and numbers its random numbers; elapsed (S,) int64 counts
    from the start of this run. noise (S, 2) int64: keys of the thermostat's random numbers, of `shoal.random`.
    """

    velocities: torch.Tensor = per_atom()
    timestep: torch.Tensor = per_system()
    step: torch.Tensor = per_system()
    elapsed: torch.Tensor = per_system()
    noise: torch.Tensor = per_system()


@dataclass(frozen=True)
class Ramp:
    """A temperature that goes in a straight line from `start` to `end` (K) within `n_steps`, and then stays.

    `start` and `end`: one number or one for each system.
    """

    start: PerSystem
    end: PerSystem
    n_steps: int

    def __post_init__(self) -> None:
        check_whole(1, **{"a ramp's n_steps": self.n_steps})


class Integrator(ABC):
    """A method of molecular dynamics; a subclass is a frozen dataclass of its parameters.

    `conserves_momentum`: the total momentum of a system without fixed atoms stays what it is, so that its three
    degrees of freedom carry no heat. `moves_cell`: the cell changes.
    """

    conserves_momentum: ClassVar[bool] = False
    moves_cell: ClassVar[bool] = False

    @abstractmethod
    def init(self, systems: Systems, start: MDState, virial: torch.Tensor | None = None) -> MDState:
        """The state to step from: `start` with this method's own variables. Raises InputError for parameters.

        `virial` (S, 3, 3) eV at the start: methods that move the cell need it.
        """

    @abstractmethod
    def step(self, state: MDState, systems: Systems, evaluate: Evaluate) -> MDState:
        """One timestep: a pure function of tensors, which calls `evaluate` and looks at no value."""

    @abstractmethod
    def conserved(self, state: MDState, systems: Systems) -> torch.Tensor:
        """(S,) eV: what exact integration would leave as it is."""

    @property
    def step_key(self) -> Hashable:
        """Methods with equal keys take their steps by the same operations, so that one compiled step serves them."""
        return self

    @property
    def start_temperature(self) -> PerSystem | None:
        """K, of velocities drawn for systems that come without; None if the method has no temperature."""
        return None
