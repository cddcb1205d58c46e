"""Velocities drawn at a temperature, the temperature they have, and what friction and noise make of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy import stats
from tests.dynamics.argon import METHODS, Run, crystal, run_of
from tests.moving import systems_of

from shoal.constraints import degrees_of_freedom
from shoal.dynamics import Langevin, MDState, Ramp, kinetic_energy, maxwell_boltzmann, temperature
from shoal.io import atoms_to_state
from shoal.motion import Evaluate, Evaluation
from shoal.random import Purpose, stream_keys
from shoal.units import BOLTZMANN

KELVIN = 350.0


@pytest.mark.parametrize("held", ["nothing", "an atom", "the centre of mass"])
def test_the_drawn_kinetic_energy_is_chi_square_distributed(held: str) -> None:
    state = atoms_to_state([molecule("CH3OH")] * 3000)
    first = torch.zeros(state.n_atoms, dtype=torch.bool)
    first[::6] = held == "an atom"
    systems = systems_of(state, fixed=first, fixed_com=torch.full((3000,), held == "the centre of mass"))
    keys = stream_keys(0, state.system_id, Purpose.VELOCITIES)
    drawn = maxwell_boltzmann(systems.pick(KELVIN), systems, keys)
    freedom = degrees_of_freedom(systems, conserves_momentum=True)
    assert (freedom == 15).all()
    reduced = 2 * kinetic_energy(drawn, systems) / (BOLTZMANN * KELVIN)
    assert stats.kstest(reduced.numpy(), stats.chi2(15).cdf).pvalue > 0.01
    assert abs(temperature(drawn, systems, conserves_momentum=True).mean() / KELVIN - 1) < 3 * (2 / 15 / 3000) ** 0.5
    momentum = systems.sum(systems.masses[:, None] * drawn)
    assert (drawn[first] == 0).all()
    assert held == "an atom" or momentum.abs().max() < 1e-14


def test_each_component_is_normal_with_the_mass_it_belongs_to() -> None:
    """Fixing the first atom leaves the others' velocities independent."""
    state = atoms_to_state([molecule("HCl")] * 4000)
    first = torch.zeros(state.n_atoms, dtype=torch.bool)
    first[::2] = True
    systems = systems_of(state, fixed=first)
    drawn = maxwell_boltzmann(systems.pick(KELVIN), systems, stream_keys(1, state.system_id, Purpose.VELOCITIES))
    mass = float(systems.masses[1]) * 103.64270
    for axis in range(3):
        values = drawn[~first, axis].numpy() * (mass / (BOLTZMANN * KELVIN)) ** 0.5
        assert stats.kstest(values, "norm").pvalue > 0.01


def test_a_single_atom_at_constant_energy_has_no_temperature() -> None:
    run = run_of(METHODS["NVE"], [Atoms("Ar", positions=[[0.3, 0.1, 0.2]], cell=[30] * 3, pbc=True)], temperature=80.0)
    state = run.after(3)
    assert temperature(state.velocities, run.systems, conserves_momentum=True).tolist() == [0.0]
    moving = state.velocities + 1.0
    assert temperature(moving, run.systems, conserves_momentum=True).tolist() == [0.0]


def springs(n_atoms: int, stiffness: float, kelvin: float | Ramp, friction: float, timestep: float) -> Run:
    """Atoms that are held to their places by springs of `stiffness` eV/A^2 and know nothing of each other."""
    state = atoms_to_state([Atoms("Ar", positions=[[0.0, 0.0, 0.0]])] * n_atoms)

    def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        energy = 0.5 * stiffness * positions.square().sum(1)
        return Evaluation(energy, -stiffness * positions, torch.zeros_like(cell))

    return Run(Langevin(kelvin, friction), systems_of(state), _still(state.positions, evaluate, timestep), evaluate)


def _still(positions: torch.Tensor, evaluate: Evaluate, timestep: float) -> MDState:
    n = len(positions)
    cell, none = torch.zeros(n, 3, 3, dtype=torch.float64), torch.zeros(n, dtype=torch.int64)
    at = evaluate(positions, cell)
    return MDState(
        positions=positions,
        cell=cell,
        energy=at.energy,
        forces=at.forces,
        velocities=torch.zeros_like(positions),
        timestep=torch.full((n,), timestep, dtype=torch.float64),
        step=none,
        elapsed=none,
        noise=stream_keys(3, torch.arange(n), Purpose.THERMOSTAT),
    )


def test_langevin_samples_springs_exactly_at_any_timestep() -> None:
    """BAOAB gives a harmonic oscillator's positions their exact variance, however long the step: here 1/4 period."""
    timestep, stiffness = 20.0, 0.5
    omega = (stiffness / (39.95 * 103.64270)) ** 0.5
    timestep = 0.25 * 2 * np.pi / omega
    run = springs(4000, stiffness, KELVIN, 0.5 / timestep, timestep)
    run.after(60)
    samples = []
    for _ in range(10):
        samples.append(run.after(8).positions)
    squares = torch.stack(samples).square() * stiffness / (BOLTZMANN * KELVIN)
    of_atoms = squares.mean((0, 2))
    assert abs(of_atoms.mean() - 1) < 3 * of_atoms.std() / len(of_atoms) ** 0.5
    assert of_atoms.std() / len(of_atoms) ** 0.5 < 0.005


def test_the_temperature_follows_the_ramp() -> None:
    """With friction that forgets within a step, the temperature is the ramp's at every step."""
    run = springs(4000, 0.0, Ramp(100.0, 500.0, 20), 100.0, 1.0)
    for k, state in enumerate(run.steps(30)):
        found = temperature(state.velocities, run.systems, conserves_momentum=False).mean() / (100 + 20 * min(k, 20))
        assert abs(found - 1) < 4 * (2 / 12000) ** 0.5


def test_the_thermostat_warms_a_cold_crystal() -> None:
    for name in ("Langevin", "NoseHoover"):
        run = run_of(METHODS[name], [crystal(k) for k in range(4)], 16.0, 1.0)
        run.after(80)
        found = torch.stack(
            [temperature(s.velocities, run.systems, conserves_momentum=name == "NoseHoover") for s in run.steps(50)]
        )
        assert abs(found.mean() - 60.0) < 8.0
