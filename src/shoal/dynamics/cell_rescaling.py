"""Constant temperature and pressure by friction and noise, on the atoms and on the cell.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import torch

from shoal.dynamics.base import Integrator, MDState, PerSystem, Ramp
from shoal.dynamics.blocks import drift, half_kick, ou_step
from shoal.dynamics.parameters import at_step, finite, not_negative, positive, ramp_of
from shoal.dynamics.strains import exponential, shear_part, symmetric_normals, trace, turn_back, volume
from shoal.dynamics.thermal import kinetic_change, kinetic_energy, kinetic_tensor
from shoal.errors import InputError
from shoal.motion import Evaluate, Systems, memory, per_system
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

    Raises InputError for systems that are not periodic in three directions, and for those with fixed atoms.
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
        enthalpy = state.energy + state.pressure * volume(state.cell)
        return enthalpy + kinetic_energy(state.velocities, systems) - state.heat

    def _move(self, state: CellRescalingState, tension: torch.Tensor, thermal_energy: torch.Tensor) -> CellMove:
        """The cell's move under its pressure times volume, `tension` (S, 3, 3) eV."""
        first = torch.zeros_like(state.step)
        fours = [normals(state.noise, state.step, first + k, block=int(Purpose.BAROSTAT)) for k in range(2)]
        noise = torch.cat(fours, dim=1)
        mobility = state.rate * state.timestep / 4
        before = volume(state.cell).sqrt()
        kick = (2 * thermal_energy * mobility).sqrt() * noise[:, 0]
        after = before + mobility * _root_force(before, tension, state.pressure, thermal_energy) + kick
        scale = ((after / before) ** (2 / 3))[:, None, None]
        identity = torch.eye(3, dtype=scale.dtype, device=scale.device).expand_as(state.cell)
        if self.cell == "isotropic":
            return CellMove(scale * identity, identity / scale, before, after, kick, mobility, None)
        ease = (state.rate * state.timestep / (3 * after.square()))[:, None, None]
        shake = (2 * thermal_energy[:, None, None] * ease).sqrt() * shear_part(symmetric_normals(noise[:, 1:7]))
        strain = ease * shear_part(tension) + shake
        stretch, shrink = exponential(strain), exponential(-strain)
        rotation = turn_back(state.cell @ stretch, state.cell)
        shear = ShearMove(strain, shake, ease, rotation)
        return CellMove(scale * stretch @ rotation, shrink @ rotation / scale, before, after, kick, mobility, shear)


class ShearMove(NamedTuple):
    """A Brownian step of the shear strain (S, 3, 3), the noise in it, its mobility times timestep (S, 1, 1), and the
    rotation (S, 3, 3) that follows it."""

    strain: torch.Tensor
    noise: torch.Tensor
    mobility: torch.Tensor
    rotation: torch.Tensor

    def heat(self, tension: torch.Tensor) -> torch.Tensor:
        # the reverse move sets out in the cell as it is turned
        unturned = self.rotation @ tension @ self.rotation.mT
        back = self.strain + self.mobility * shear_part(unturned)
        return ((self.noise.square() - back.square()) / (4 * self.mobility)).sum((1, 2))


class CellMove(NamedTuple):
    """What multiplies rows of positions, and of velocities (S, 3, 3); the Brownian step of the volume's root (S,) from
    `before` to `after`, with the noise in it and its mobility times timestep; and the shear, if there is any."""

    deformation: torch.Tensor
    inverse_transpose: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    noise: torch.Tensor
    mobility: torch.Tensor
    shear: ShearMove | None

    def heat(self, tension: torch.Tensor, pressure: torch.Tensor, thermal_energy: torch.Tensor) -> torch.Tensor:
        """(S,) eV: k_B T log of how likely the reverse move is over the move, volumes being equally likely a priori;
        tension (S, 3, 3) eV after the move."""
        drive = self.mobility * _root_force(self.after, tension, pressure, thermal_energy)
        back = self.after - self.before + drive
        spent = (self.noise.square() - back.square()) / (4 * self.mobility)
        heat = thermal_energy * (self.after / self.before).log() + spent
        return heat if self.shear is None else heat + self.shear.heat(tension)


def _root_force(
    root: torch.Tensor, tension: torch.Tensor, pressure: torch.Tensor, thermal_energy: torch.Tensor
) -> torch.Tensor:
    """(S,): on the root of the volume; its measure is the root times the volume's."""
    return (2 * trace(tension) / 3 + thermal_energy) / root - 2 * pressure * root


def _rescaled(positions: torch.Tensor, deformation: torch.Tensor, systems: Systems) -> torch.Tensor:
    """(N, 3): rows times the deformation, about the origin, so that fractional coordinates stay; where the centre of
    mass is fixed, about it."""
    mass = systems.sum(systems.masses)
    centre = systems.sum(systems.masses[:, None] * positions) / torch.where(mass > 0, mass, 1.0)[:, None]
    origin = systems.of_atoms(torch.where(systems.fixed_com[:, None], centre, 0.0))
    return origin + torch.matmul((positions - origin)[:, None], systems.of_atoms(deformation))[:, 0]


def _refuse(at_fault: torch.Tensor, systems: Systems, why: str) -> None:
    for s in at_fault.nonzero()[:1, 0].tolist():
        raise InputError(f"system {int(systems.system_id[s])} {why}")
