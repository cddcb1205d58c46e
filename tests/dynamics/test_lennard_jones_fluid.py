"""The Lennard-Jones fluid against NIST's Monte Carlo averages, in reduced units.

Truncated at 3 sigma, with the tail's part of energy and pressure for a fluid that is uniform beyond.
Source: NIST Standard Reference Simulation Website, SRD 173, "Benchmark results for the Lennard-Jones fluid".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from tests.dynamics.argon import argon

import shoal
from shoal.dynamics import CellRescaling, Integrator, Langevin, NoseHoover, Ramp
from shoal.state import SimState
from shoal.units import BOLTZMANN, GPA, KINETIC

EPSILON, SIGMA, MASS = 0.0104, 3.4, 39.95
CUTOFF = 3.0
KELVIN = EPSILON / BOLTZMANN
PRESSURE = EPSILON / SIGMA**3 / GPA
TIME = SIGMA * math.sqrt(MASS * KINETIC / EPSILON)
TIMESTEP = 0.005 * TIME
COPIES, BLOCKS = 4, 5
POTENTIAL = argon("none", CUTOFF * SIGMA)
"""One, so that compiled steps are shared."""

NIST = {(0.85, 0.776): (-5.5121, 6.7714e-3), (0.85, 0.820): (-5.7947, 0.55355), (0.90, 0.860): (-5.9753, 1.5781)}
"""(T*, rho*): energy of an atom, pressure."""

pytestmark = pytest.mark.slow


def energy_tail(density: float) -> float:
    return 8 / 3 * math.pi * density * (CUTOFF**-9 / 3 - CUTOFF**-3)


def pressure_tail(density: float) -> float:
    return 16 / 3 * math.pi * density**2 * (2 / 3 * CUTOFF**-9 - CUTOFF**-3)


def liquid(points: list[tuple[float, float]]) -> SimState:
    """Copies of 256 atoms at each (T*, rho*), molten at T* = 3 and cooled down to it."""
    structures: list[Atoms] = []
    for _, density in points:
        structures += [bulk("Ar", "fcc", a=SIGMA * (4 / density) ** (1 / 3), cubic=True) * 4] * COPIES
    target = np.repeat([t for t, _ in points], COPIES) * KELVIN
    cooling = Langevin(Ramp([3 * KELVIN] * len(target), target.tolist(), 300), 5.0 / TIME)
    return run(structures, cooling, 500, seed=1).state


def run(structures: Any, method: Integrator, n_steps: int, **settings: Any) -> Any:
    return shoal.simulate(
        structures, POTENTIAL, method, TIMESTEP, n_steps, skin=2.0, compile=True, progress=False, **settings
    )


def mean_and_error(values: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Of (samples, points * copies): copies are independent, and so are blocks of time."""
    blocks = torch.stack(values[-(len(values) // BLOCKS) * BLOCKS :]).reshape(BLOCKS, -1, len(values[0])).mean(1)
    independent = blocks.reshape(BLOCKS, -1, COPIES).transpose(0, 1).flatten(1)
    return independent.mean(1).numpy(), (independent.std(1) / independent.shape[1] ** 0.5).numpy()


def test_energy_and_pressure_are_those_of_monte_carlo() -> None:
    points = list(NIST)
    temperatures = (np.repeat([t for t, _ in points], COPIES) * KELVIN).tolist()
    energies: list[torch.Tensor] = []
    pressures: list[torch.Tensor] = []

    def look(now: Any) -> None:
        energies.append(now.energy / (256 * EPSILON))
        pressures.append(now.pressure / PRESSURE)

    method = NoseHoover(temperatures, 0.2 * TIME)
    # velocities drawn anew are at rest as a whole
    start = run(liquid(points), method, 100, temperature=temperatures, seed=2).state
    run(start, method, 1000, seed=3, on_step=look, every=20)
    (energy, energy_error), (pressure, pressure_error) = mean_and_error(energies), mean_and_error(pressures)
    for k, (point, (energy_there, pressure_there)) in enumerate(NIST.items()):
        assert energy_error[k] < 0.015
        assert pressure_error[k] < 0.06
        assert abs(energy[k] + energy_tail(point[1]) - energy_there) < 3 * energy_error[k]
        assert abs(pressure[k] + pressure_tail(point[1]) - pressure_there) < 3 * pressure_error[k]


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_at_the_truncated_fluids_pressure_the_density_is_the_one_it_belongs_to(cell: str) -> None:
    temperature, density = 0.85, 0.820
    pressure = (NIST[temperature, density][1] - pressure_tail(density)) * PRESSURE
    # compressibility of the liquid, about 0.07 sigma^3 / epsilon: the volume forgets within half a unit of time
    method = CellRescaling(temperature * KELVIN, pressure, 2.0 / TIME, 0.5 * TIME, 0.07 / PRESSURE, cell)  # type: ignore[arg-type]
    densities: list[torch.Tensor] = []

    def look(now: Any) -> None:
        densities.append(256 * SIGMA**3 / torch.linalg.det(now.cell).abs())

    start = run(liquid([(temperature, density)]), method, 400, seed=2).state
    run(start, method, 2000, seed=3, on_step=look, every=10)
    (found,), (error,) = mean_and_error(densities)
    assert error < 0.004
    assert abs(found - density) < 3 * error
