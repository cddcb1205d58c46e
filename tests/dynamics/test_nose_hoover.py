"""The chain itself, against its equations of motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from tests.dynamics.argon import METHODS, TEMPERATURE, crystal, run_of

from shoal.dynamics import NoseHoover
from shoal.dynamics.nose_hoover import SUZUKI_YOSHIDA, propagate_chain
from shoal.errors import InputError
from shoal.units import BOLTZMANN

FREEDOM, TAU, WARMTH, TIME = 30.0, 50.0, 1.7, 60.0
CHAIN = np.array([0.004, -0.006, 0.015])
ORDER = {1: 2, 3: 4, 5: 4, 7: 6}


def exact_scale_and_chain() -> tuple[float, np.ndarray]:
    """The equations of motion (in rates of the thermostats, with the masses put in), integrated by scipy."""
    thermal_energy = BOLTZMANN * TEMPERATURE
    masses = thermal_energy * TAU**2 * np.array([FREEDOM, 1.0, 1.0])

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        log_scale, rates = y[0], y[1:]
        twice_kinetic = FREEDOM * thermal_energy * WARMTH * np.exp(2 * log_scale)
        forces = np.array([twice_kinetic, *(masses[:-1] * rates[:-1] ** 2)]) - thermal_energy * np.array(
            [FREEDOM, 1, 1]
        )
        friction = np.array([*rates[1:], 0.0])
        return np.array([-rates[0], *(forces / masses - rates * friction)])

    end = solve_ivp(slope, (0, TIME), [0.0, *CHAIN], method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    return float(np.exp(end[0])), end[1:]


def propagated(factors: int, n_substeps: int) -> tuple[float, np.ndarray, float]:
    one = {"dtype": torch.float64}
    step = torch.tensor([TIME / n_substeps], **one)
    parts = [share * step for _ in range(n_substeps) for share in SUZUKI_YOSHIDA[factors]]
    warmth, freedom, tau = (torch.tensor([x], **one) for x in (WARMTH, FREEDOM, TAU))
    scale, chain, gained = propagate_chain(torch.tensor(CHAIN[None], **one), warmth, freedom, tau, parts)
    return float(scale), chain[0].numpy(), float(gained)


@pytest.mark.parametrize("factors", SUZUKI_YOSHIDA)
def test_the_chain_converges_to_its_equations_with_the_order_of_the_factors(factors: int) -> None:
    scale, chain = exact_scale_and_chain()
    errors = []
    for n_substeps in (6, 12):
        got_scale, got_chain, _ = propagated(factors, n_substeps)
        errors.append(abs(got_scale - scale) + TAU * np.abs(got_chain - chain).max())
    assert abs(np.log2(errors[0] / errors[1]) - ORDER[factors]) < 0.4


def test_the_chain_gains_what_the_atoms_lose() -> None:
    scale, _, gained = propagated(7, 60)
    lost = 0.5 * FREEDOM * WARMTH * (1 - scale**2)
    assert abs(lost) > 1
    assert abs(gained - lost) < 1e-9


def test_the_total_momentum_stays() -> None:
    run = run_of(METHODS["NoseHoover"], [crystal(0), crystal(1)], temperature=2 * TEMPERATURE)
    drift = torch.tensor([1e-3, -2e-3, 5e-4], dtype=torch.float64)
    run.state = run.state.replace(velocities=run.state.velocities + drift)
    masses = run.systems.masses[:, None]
    start = run.systems.sum(masses * run.state.velocities)
    end = run.systems.sum(masses * run.after(50).velocities)
    assert (end - start).abs().max() < 1e-12 * start.abs().max() * 16


@pytest.mark.parametrize("factors", [3, 5, 7])
def test_factors_and_substeps_leave_the_motion_what_it_is(factors: int) -> None:
    """At 4 fs and tau = 200 fs the chain's own error is far below that of velocity Verlet."""
    here, there = (
        run_of(NoseHoover(TEMPERATURE, 200.0, suzuki_yoshida=f, n_substeps=n), [crystal(0)], temperature=90.0).after(50)
        for f, n in ((factors, 1), (7, 4))
    )
    assert (here.positions - there.positions).abs().max() < 1e-7


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"chain_length": 0}, "chain_length must be a whole number of at least 1"),
        ({"n_substeps": 0}, "n_substeps must be a whole number of at least 1"),
        ({"suzuki_yoshida": 4}, "one of [1, 3, 5, 7]"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"temperature": 0.0}, "above 0 K"),
    ],
)
def test_settings_that_make_no_chain_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(InputError) as error:
        run_of(NoseHoover(**settings), [crystal(0)])  # type: ignore[arg-type]
    assert said in str(error.value)
