"""What each method conserves, it conserves: to the square of the timestep, without drift, and back in time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.dynamics.argon import METHODS, TEMPERATURE, THERMOSTATS, crystal, run_of, warm_crystals

from shoal.dynamics import INTEGRATORS, Langevin, NoseHoover, Ramp
from shoal.dynamics.nose_hoover import NoseHooverState

DETERMINISTIC = ("NVE", "NoseHoover")


def test_every_integrator_is_under_these_laws() -> None:
    assert {type(method) for method in METHODS.values()} == set(INTEGRATORS)


def fluctuation(name: str, timestep: float, time: float = 640.0) -> float:
    """Root mean square of the conserved quantity about its mean, over many systems."""
    run = run_of(METHODS[name], warm_crystals(16), timestep, temperature=None)
    values = run.conserved(round(time / timestep))
    return float((values - values.mean(0)).square().mean().sqrt())


@pytest.mark.parametrize("name", METHODS)
def test_the_fluctuation_falls_with_the_square_of_the_timestep(name: str) -> None:
    ratio = fluctuation(name, 16.0) / fluctuation(name, 8.0)
    # noise takes other paths at another timestep, which the mean over systems makes small, but not nothing
    within = 0.15 if name in DETERMINISTIC else 0.3
    assert 4 * (1 - within) < ratio < 4 * (1 + within)


@pytest.mark.parametrize("name", METHODS)
def test_there_is_no_drift(name: str) -> None:
    run = run_of(METHODS[name], warm_crystals(16), 16.0, temperature=None)
    run.after(30)
    values = run.conserved(100)
    time = torch.arange(len(values), dtype=torch.float64)
    time = time - time.mean()
    slopes = (values * time[:, None]).sum(0) / time.square().sum()
    assert slopes.mean().abs() < 3 * slopes.std() / len(slopes) ** 0.5


@pytest.mark.parametrize("name", THERMOSTATS)
def test_the_conserved_quantity_knows_of_a_ramp(name: str) -> None:
    """The atoms take up far more than what is left unaccounted for."""
    method = replace(METHODS[name], temperature=Ramp(TEMPERATURE, 2 * TEMPERATURE, 100))  # type: ignore[call-arg]
    run = run_of(method, warm_crystals(16)[:4], 8.0, temperature=None)
    before = run.state
    values = run.conserved(150)
    taken_up = (run.state.energy - before.energy).mean()
    assert taken_up > 0.02
    assert (values - values[0]).abs().max() < 0.02 * taken_up


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_motion_goes_back_the_way_it_came(name: str) -> None:
    run = run_of(METHODS[name], [crystal(0, (1, 1, 2))])
    start, n_steps = run.state, 500 if name == "NVE" else 200
    there = run.after(n_steps)
    assert (there.positions - start.positions).abs().max() > 0.1
    run.state = there.replace(velocities=-there.velocities)
    if isinstance(there, NoseHooverState):
        run.state = run.state.replace(chain=-there.chain)
    back = run.after(n_steps)
    assert (back.positions - start.positions).abs().max() < 1e-8
    assert (back.velocities + start.velocities).abs().max() < 1e-10


def test_langevin_without_friction_is_nve() -> None:
    free, alone = (run_of(m, [crystal(0)]) for m in (Langevin(300.0, 0.0), METHODS["NVE"]))
    for here, there in zip(free.steps(50), alone.steps(50), strict=True):
        assert (here.positions - there.positions).abs().max() < 1e-10


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].moves_cell])
def test_a_cell_that_hardly_moves_and_no_friction_is_nve(name: str) -> None:
    stiff = replace(METHODS[name], friction=0.0, compressibility=1e-24)  # type: ignore[call-arg]
    held, alone = (run_of(m, [crystal(0)]) for m in (stiff, METHODS["NVE"]))
    for here, there in zip(held.steps(50), alone.steps(50), strict=True):
        assert (here.positions - there.positions).abs().max() < 1e-8


def test_a_slow_chain_is_nve() -> None:
    slow, alone = (run_of(m, [crystal(0)]) for m in (NoseHoover(TEMPERATURE, 1e9), METHODS["NVE"]))
    for here, there in zip(slow.steps(50), alone.steps(50), strict=True):
        assert (here.positions - there.positions).abs().max() < 1e-8
