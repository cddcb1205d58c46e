"""Step for step as ASE's molecular dynamics."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms, units
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from tests.dynamics.argon import METHODS, TEMPERATURE, Run, argon, crystal, run_of

from shoal.integrations.ase import ShoalCalculator
from shoal.units import ACCELERATION, BOLTZMANN

TIMESTEP = 4.0


def at_ase(run: Run, system: int) -> Atoms:
    """A system of a run with velocities, for ASE, whose constants differ in the eighth digit: the masses make up for
    that of the unit of time."""
    rows = run.systems.system_index == system
    atoms = crystal(system)
    atoms.set_masses(atoms.get_masses() * units.fs**2 / ACCELERATION)
    atoms.set_velocities(run.state.velocities[rows].numpy() / units.fs)
    atoms.calc = ShoalCalculator(argon())
    return atoms


def assert_same(run: Run, references: list[Atoms]) -> None:
    positions = np.concatenate([atoms.positions for atoms in references])
    velocities = np.concatenate([atoms.get_velocities() for atoms in references]) * units.fs
    assert np.abs(run.state.positions.numpy() - positions).max() < 1e-8
    assert np.abs(run.state.velocities.numpy() - velocities).max() < 1e-10


def test_nve_is_velocity_verlet() -> None:
    run = run_of(METHODS["NVE"], [crystal(0), crystal(1)], TIMESTEP)
    references = [at_ase(run, s) for s in range(2)]
    dynamics = [VelocityVerlet(atoms, TIMESTEP * units.fs) for atoms in references]
    for _ in run.steps(50):
        for one in dynamics:
            one.step()
        assert_same(run, references)


def test_nose_hoover_is_ases_with_as_many_degrees_of_freedom() -> None:
    """ASE counts three for every atom although the total momentum stays zero: it is told of one atom less."""
    method = METHODS["NoseHoover"]
    run = run_of(method, [crystal(0), crystal(1)], TIMESTEP, temperature=2 * TEMPERATURE)
    start = method.conserved(run.state, run.systems)
    references = [at_ase(run, s) for s in range(2)]
    dynamics = []
    for atoms in references:
        tau = method.tau * units.fs  # type: ignore[attr-defined]
        one = NoseHooverChainNVT(atoms, TIMESTEP * units.fs, TEMPERATURE * BOLTZMANN / units.kB, tau)
        chain = one._thermostat
        chain._num_atoms_global = len(atoms) - 1
        chain._Q[0] = 3 * (len(atoms) - 1) * chain._kT * tau**2
        dynamics.append(one)
    starts = torch.tensor([one.get_conserved_energy() for one in dynamics], dtype=torch.float64)
    for _ in run.steps(50):
        for one in dynamics:
            one.step()
        assert_same(run, references)
    changes = torch.tensor([one.get_conserved_energy() for one in dynamics], dtype=torch.float64) - starts
    assert (method.conserved(run.state, run.systems) - start - changes).abs().max() < 1e-8
