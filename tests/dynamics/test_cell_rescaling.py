"""The barostat: where it relaxes to, how volumes are distributed, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.dynamics.argon import BAROSTATS, METHODS, Run, crystal, run_of
from tests.moving import systems_of

from shoal.dynamics import CellRescaling, MDState
from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.motion import Evaluation
from shoal.potentials import cell_volume
from shoal.random import Purpose, stream_keys
from shoal.units import BOLTZMANN, GPA


@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("pressure", [0.0, 0.3])
def test_without_temperature_the_crystal_comes_to_rest_at_the_pressure(name: str, pressure: float) -> None:
    method = replace(METHODS[name], temperature=0.0, pressure=pressure, friction=0.02, tau_pressure=250.0)  # type: ignore[call-arg]
    run = run_of(method, [crystal(0, rattle=0.02)], 16.0, 0.0)
    run.after(200)
    at = run.evaluate(run.state.positions, run.state.cell)
    stress = -at.virial[0] / cell_volume(run.state.cell) / GPA
    if method.cell == "flexible":  # type: ignore[attr-defined]
        assert (stress + pressure * torch.eye(3)).abs().max() < 1e-3
    else:
        assert abs(stress.trace() / 3 + pressure) < 1e-3
        assert (stress + pressure * torch.eye(3)).abs().max() > 1e-2


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_volumes_of_an_ideal_gas_are_gamma_distributed(cell: str) -> None:
    """p(V) is proportional to V^N exp(-p V / k_B T): the mean is (N + 1) k_B T / p, the variance (N + 1) (k_B T / p)^2,
    whatever the cell's shape does."""
    n_systems, n_atoms, temperature, pressure = 600, 4, 300.0, 0.05
    length = ((n_atoms + 1) * BOLTZMANN * temperature / (pressure * GPA)) ** (1 / 3)
    atoms = crystal(0, (1, 1, 1))
    atoms.set_cell(length * np.eye(3))
    state = atoms_to_state([atoms] * n_systems)
    systems = systems_of(state)

    def nothing(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        return Evaluation(positions.new_zeros(len(cell)), torch.zeros_like(positions), torch.zeros_like(cell))

    none = torch.zeros(n_systems, dtype=torch.int64)
    start = MDState(
        positions=state.positions,
        cell=state.cell,
        energy=torch.zeros(n_systems, dtype=torch.float64),
        forces=torch.zeros_like(state.positions),
        velocities=torch.zeros_like(state.positions),
        timestep=torch.full((n_systems,), 2.0, dtype=torch.float64),
        step=none,
        elapsed=none,
        noise=stream_keys(7, state.system_id, Purpose.THERMOSTAT),
    )
    method = CellRescaling(temperature, pressure, 0.2, 160.0, 1 / pressure, cell)  # type: ignore[arg-type]
    run = Run(method, systems, start, nothing)
    run.after(250)
    moments = []
    for _ in range(5):
        run.after(50)
        reduced = cell_volume(run.state.cell) * pressure * GPA / (BOLTZMANN * temperature)
        moments.append(torch.stack([reduced, (reduced - (n_atoms + 1)) ** 2]))
    # of one system after another, the samples of one are not independent
    of_systems = torch.stack(moments).mean(0)
    mean, error = of_systems.mean(1), of_systems.std(1) / n_systems**0.5
    assert (mean - (n_atoms + 1)).abs().le(3 * error).all()
    assert error[0] < 0.07


@pytest.mark.parametrize("name", BAROSTATS)
def test_images_stay_images(name: str) -> None:
    """Atoms that start lattice vectors away stay those lattice vectors away, of the cell as it is then."""
    inside, outside = crystal(0), crystal(0)
    turns = np.random.default_rng(0).integers(-3, 4, (len(outside), 3))
    outside.positions += turns @ np.asarray(outside.cell)
    here, there = (run_of(METHODS[name], [atoms]) for atoms in (inside, outside))
    first = here.state.cell
    for a, b in zip(here.steps(50), there.steps(50), strict=True):
        assert (a.cell - b.cell).abs().max() < 1e-9
        shifted = a.positions + torch.as_tensor(turns, dtype=torch.float64) @ a.cell[0]
        assert (shifted - b.positions).abs().max() < 1e-8
    assert (a.cell - first).abs().max() > 1e-3


def test_an_isotropic_cell_keeps_its_shape() -> None:
    run = run_of(METHODS["CellRescaling, isotropic"], [crystal(0)])
    first = run.state.cell / cell_volume(run.state.cell) ** (1 / 3)
    cell = run.after(50).cell
    assert (cell / cell_volume(cell) ** (1 / 3) - first).abs().max() < 1e-13


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_flexible_cell_strains_but_does_not_turn(mirrored: bool) -> None:
    atoms = crystal(0)
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    if mirrored:
        atoms.set_cell(np.asarray(atoms.cell) * [1, 1, -1], scale_atoms=True)
    run = run_of(METHODS["CellRescaling, flexible"], [atoms])
    before, after = run.state.cell[0], run.after(100).cell[0]
    assert torch.linalg.cross(before[0], after[0]).abs().max() < 1e-12 * before[0].square().sum()
    normal, then = (torch.linalg.cross(c[0], c[1]) / torch.linalg.cross(c[0], c[1]).norm() for c in (before, after))
    assert (normal - then).abs().max() < 1e-12
    assert torch.sign(torch.det(before)) == torch.sign(torch.det(after))
    angles = [torch.nn.functional.cosine_similarity(c[[0, 0, 1]], c[[1, 2, 2]]) for c in (before, after)]
    assert (angles[0] - angles[1]).abs().min() > 1e-5


def test_what_turns_with_the_coordinates_turns_the_run() -> None:
    """Isotropic, without the thermostat's noise: a rotated system runs as the first, rotated."""
    method = CellRescaling(60.0, 0.05, 0.0, 1000.0, 0.3)
    straight, turned = crystal(0), crystal(0)
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    here, there = (run_of(method, [atoms], temperature=0.0) for atoms in (straight, turned))
    rotation = torch.linalg.solve(here.state.cell[0], there.state.cell[0])
    a, b = here.after(50), there.after(50)
    assert (a.cell[0] @ rotation - b.cell[0]).abs().max() < 1e-10
    assert (a.positions @ rotation - b.positions).abs().max() < 1e-10


@pytest.mark.parametrize("name", BAROSTATS)
def test_what_has_no_cell_to_rescale_is_refused_by_name(name: str) -> None:
    slab = crystal(1)
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="system 41 is not periodic in three directions"):
        run_of(METHODS[name], [crystal(0), slab], system_ids=[40, 41])
    fixed = torch.zeros(32, dtype=torch.bool)
    fixed[20] = True
    with pytest.raises(InputError, match="system 41 has fixed atoms"):
        run_of(METHODS[name], [crystal(0), crystal(1)], system_ids=[40, 41], fixed=fixed)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cell": "round"}, "isotropic, flexible"),
        ({"compressibility": 0.0}, "compressibility must be positive"),
        ({"tau_pressure": -1.0}, "tau_pressure must be positive"),
        ({"pressure": float("nan")}, "pressure must be finite"),
    ],
)
def test_settings_that_make_no_barostat_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run_of(CellRescaling(**settings), [crystal(0)])  # type: ignore[arg-type]
