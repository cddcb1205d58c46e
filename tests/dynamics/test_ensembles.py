"""Every thermostat and barostat samples its ensemble: held against the analysis of physical-validation.

Small crystals of argon, many in a batch, at two temperatures (and two pressures), through `shoal.simulate`.
Source: P. T. Merz, M. R. Shirts, PLoS ONE 13, e0202764 (2018).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import physical_validation as pv
import pytest
from tests.dynamics.argon import BAROSTATS, METHODS, THERMOSTATS, argon, crystal

import shoal
from shoal.dynamics import Langevin
from shoal.units import BOLTZMANN

COPIES, N_ATOMS, TIMESTEP, EVERY, SAMPLES = 32, 16, 8.0, 40, 60
COOL, WARM = 45.0, 50.0
LOW, HIGH = 0.05, 0.08  # GPa

pytestmark = pytest.mark.slow


def sampled(name: str, temperatures: list[float], pressures: list[float]) -> dict[str, np.ndarray]:
    """Kinetic and potential energy (eV) and volume (A^3) at each state point: (points, copies * samples)."""
    each = {"temperature": np.repeat(temperatures, COPIES).tolist()}
    if METHODS[name].moves_cell:
        each["pressure"] = np.repeat(pressures, COPIES).tolist()
    method: Any = replace(METHODS[name], **each)
    potential = argon()
    structures = [crystal(k) for k in range(COPIES * len(temperatures))]
    settings: dict[str, Any] = {"timestep": TIMESTEP, "compile": True, "progress": False}
    warm = Langevin(each["temperature"], 0.01)
    drawn = [2 * t for t in each["temperature"]]
    start = shoal.simulate(structures, potential, warm, n_steps=200, temperature=drawn, seed=1, **settings).state
    # velocities drawn anew are at rest as a whole, which a method that conserves momentum relies on
    kelvin = each["temperature"]
    start = shoal.simulate(start, potential, method, n_steps=400, temperature=kelvin, seed=2, **settings).state
    seen: dict[str, list[np.ndarray]] = {"kinetic": [], "potential": [], "volume": []}

    def look(now: Any) -> None:
        seen["kinetic"].append(now.kinetic_energy.numpy())
        seen["potential"].append(now.energy.numpy())
        seen["volume"].append(np.abs(np.linalg.det(now.cell.numpy())))

    run = {"n_steps": EVERY * SAMPLES, "seed": 3, "on_step": look, "every": EVERY}
    shoal.simulate(start, potential, method, **run, **settings)
    # one copy after another, so that the analysis sees how long each remembers
    return {key: np.array(values).T.reshape(len(temperatures), -1) for key, values in seen.items()}


def simulation(name: str, of: dict[str, np.ndarray], point: int, temperature: float, pressure: float) -> Any:
    moves_cell, at_rest = METHODS[name].moves_cell, METHODS[name].conserves_momentum
    state: dict[str, Any] = {"pressure": pressure} if moves_cell else {"volume": float(of["volume"][point, 0])}
    return pv.data.SimulationData(
        units=pv.data.UnitData(
            kb=BOLTZMANN,
            energy_conversion=96.48533,
            length_conversion=0.1,
            volume_conversion=1e-3,
            temperature_conversion=1.0,
            pressure_conversion=1e4,
            time_conversion=1e-3,
        ),
        dt=TIMESTEP * EVERY,
        system=pv.data.SystemData(
            natoms=N_ATOMS,
            nconstraints=0,
            ndof_reduction_tra=3 if at_rest else 0,
            ndof_reduction_rot=0,
            mass=np.full(N_ATOMS, 39.95),
        ),
        ensemble=pv.data.EnsembleData("NPT" if moves_cell else "NVT", natoms=N_ATOMS, temperature=temperature, **state),
        observables=pv.data.ObservableData(
            kinetic_energy=of["kinetic"][point],
            potential_energy=of["potential"][point],
            total_energy=of["kinetic"][point] + of["potential"][point],
            volume=of["volume"][point],
        ),
    )


@pytest.mark.parametrize("name", THERMOSTATS)
def test_the_method_samples_its_ensemble(name: str) -> None:
    moves_cell = name in BAROSTATS
    temperatures, pressures = [COOL, WARM, COOL][: 2 + moves_cell], [LOW, LOW, HIGH][: 2 + moves_cell]
    of = sampled(name, temperatures, pressures)
    points = [simulation(name, of, k, *at) for k, at in enumerate(zip(temperatures, pressures, strict=True))]
    for data in points:
        mean, width = pv.kinetic_energy.distribution(data, strict=False, verbosity=0, bootstrap_seed=0)
        assert abs(mean) < 3
        assert abs(width) < 3
        assert pv.kinetic_energy.distribution(data, strict=True, verbosity=0, bootstrap_seed=0) > 0.003
    for other in points[1:]:
        quantiles = pv.ensemble.check(points[0], other, verbosity=0)
        assert max(quantiles) < 3
