"""Constant temperature and pressure by friction and noise, on the atoms and on the cell.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from shoal.dynamics.base import Integrator, MDState, PerSystem, Ramp
from shoal.dynamics.blocks import drift, half_kick, ou_step
from shoal.dynamics.cell_move import CellMove, cell_move
from shoal.dynamics.parameters import at_step, ramp_of
from shoal.dynamics.thermal import kinetic_change, kinetic_energy, kinetic_tensor
from shoal.errors import InputError, UnsupportedSystemError
from shoal.motion import Evaluate, Systems, memory, per_system
from shoal.parameters import finite, not_negative, positive
from shoal.potentials import cell_volume
from shoal.random import Purpose, normals
from shoal.units import BOLTZMANN, GPA

CellShape = Literal["isotropic", "flexible"]


@dataclass(frozen=True, eq=False)
class CellRescalingState(MDState):
    """virial (S, 3, 3) eV; ramp (S, 3): temperatures (K) from and to, and the steps between; friction (S,) 1/fs;
    pressure (S,) eV/A^3; rate (S,) A^3/(eV fs), compressibility over relaxation time; heat (S,) eV, what thermostat
    and barostat have given."""

    virial: torch.Tensor = per_system()
    ramp: torch.Tensor = per_system()
    friction: torch.Tensor = per_system()
    pressure: torch.Tensor = per_system()
    rate: torch.Tensor = per_system()
    heat: torch.Tensor = memory()


@dataclass(frozen=True)
class CellRescaling(Integrator):
    """Stochastic cell rescaling within Langevin dynamics; `temperature` K, `friction` 1/fs, `pressure` GPa.

    The volume relaxes in `tau_pressure` fs if `compressibility` (1/GPa) is the material's; only their ratio matters,
    and only for how fast. `cell`: "isotropic" keeps its shape; "flexible" shears it too, towards the same pressure on
    all sides. When the cell changes, fractional coordinates stay and momenta change inversely. It does not turn: its
    first vector keeps its direction, its first two their plane. A liquid does not resist shear, so that a flexible
    cell of it gets ever longer in some direction.

    A step is BAOAB with the cell moved after O, by Brownian steps dx = m F dt + sqrt(2 k_B T m dt) xi, whose noise
    does not depend on what they move: the root of the volume V, with m = rate / 4, and then at that volume the shear
    strain, with m = rate / (3 V), where rate = compressibility / tau_pressure. The forces F follow from the difference
    of the pressure, its kinetic part included, to `pressure`. Noise acts on each momentum, so that the centre of mass
    takes part in all of it.

    Sources: M. Bernetti, G. Bussi, J. Chem. Phys. 153, 114107 (2020): the volume and its root, the effective energy;
    V. Del Tatto, P. Raiteri, M. Bernetti, G. Bussi, Appl. Sci. 12, 1139 (2022): the flexible cell. The shear part is
    here stepped at constant volume, which makes its noise additive too.

    Raises UnsupportedSystemError for systems that are not periodic in three directions, and for those with fixed atoms.
    """

    temperature: PerSystem | Ramp = 300.0
    pressure: PerSystem = 0.0
    friction: PerSystem = 0.01
    tau_pressure: PerSystem = 1000.0
    compressibility: PerSystem = 0.01
    cell: CellShape = "isotropic"

    moves_cell: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.cell not in get_args(CellShape):
            raise InputError(f"cell must be one of {', '.join(get_args(CellShape))}; got {self.cell!r}")

    @property
    def start_temperature(self) -> PerSystem | None:
        return self.temperature.start if isinstance(self.temperature, Ramp) else self.temperature

    @property
    def step_key(self) -> Hashable:
        return type(self), self.cell  # the others are in the state

    def init(self, systems: Systems, start: MDState, virial: torch.Tensor | None = None) -> CellRescalingState:
        assert virial is not None
        _refuse(~systems.pbc.all(1), systems, "is not periodic in three directions: there is no cell to rescale")
        fixed = systems.sum(systems.fixed.to(torch.float64)) > 0
        _refuse(fixed, systems, "has fixed atoms, which cannot stay where they are when the cell is rescaled")
        compressibility = positive("compressibility", self.compressibility, systems) / GPA
        return start.become(
            CellRescalingState,
            virial=virial,
            ramp=ramp_of(self.temperature, systems),
            friction=not_negative("friction", self.friction, systems),
            pressure=finite("pressure", self.pressure, systems) * GPA,
            rate=compressibility / positive("tau_pressure", self.tau_pressure, systems),
            heat=torch.zeros_like(start.energy),
        )

    def step(self, state: MDState, systems: Systems, evaluate: Evaluate) -> MDState:
        assert isinstance(state, CellRescalingState)
        half, thermal = 0.5 * state.timestep, at_step(state.ramp, state.elapsed)
        velocities = half_kick(state.velocities, state.forces, state.timestep, systems)
        positions = drift(state.positions, velocities, half, systems)
        shaken = ou_step(state, velocities, thermal, state.friction, systems)

        move = self._move(state, state.virial + 2 * kinetic_tensor(shaken, systems), BOLTZMANN * thermal)
        positions = _rescaled(positions, move.deformation, systems)
        strained = torch.matmul(shaken[:, None], systems.of_atoms(move.inverse_transpose))[:, 0]
        cell = state.cell @ move.deformation

        positions = drift(positions, strained, half, systems)
        at = evaluate(positions, cell)
        heat = move.heat(at.virial + 2 * kinetic_tensor(strained, systems), state.pressure, BOLTZMANN * thermal)
        return state.replace(
            positions=positions,
            cell=cell,
            velocities=half_kick(strained, at.forces, state.timestep, systems),
            energy=at.energy,
            forces=at.forces,
            virial=at.virial,
            step=state.step + 1,
            elapsed=state.elapsed + 1,
            heat=state.heat + kinetic_change(velocities, shaken, systems) + heat,
        )

    def conserved(self, state: MDState, systems: Systems) -> torch.Tensor:
        """(S,) eV: the effective energy, which changes by -k_B T log of how likely a step is over its reverse: the
        enthalpy less the heat of thermostat and barostat."""
        assert isinstance(state, CellRescalingState)
        enthalpy = state.energy + state.pressure * cell_volume(state.cell)
        return enthalpy + kinetic_energy(state.velocities, systems) - state.heat

    def _move(self, state: CellRescalingState, tension: torch.Tensor, thermal_energy: torch.Tensor) -> CellMove:
        first = torch.zeros_like(state.step)
        fours = [normals(state.noise, state.step, first + k, block=int(Purpose.BAROSTAT)) for k in range(2)]
        noise = torch.cat(fours, dim=1)
        return cell_move(
            state.cell,
            tension,
            state.pressure,
            thermal_energy,
            state.rate * state.timestep,
            noise,
            flexible=self.cell == "flexible",
        )


def _rescaled(positions: torch.Tensor, deformation: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3): rows times the deformation, about the origin, so that fractional coordinates stay; where the centre of
    mass is fixed, about it."""
    mass = systems.sum(systems.masses)
    centre = systems.sum(systems.masses[:, None] * positions) / torch.where(mass > 0, mass, 1.0)[:, None]
    origin = systems.of_atoms(torch.where(systems.fixed_com[:, None], centre, 0.0))
    return origin + torch.matmul((positions - origin)[:, None], systems.of_atoms(deformation))[:, 0]


def _refuse(at_fault: torch.Tensor, systems: Systems, why: str) -> None:
    for s in at_fault.nonzero()[:1, 0].tolist():
        raise UnsupportedSystemError(f"system {int(systems.system_id[s])} {why}")
