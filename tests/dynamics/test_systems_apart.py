"""A system in a batch moves as it would alone: with its own parameters, constraints and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from ase import Atoms
from tests.dynamics.argon import BAROSTATS, METHODS, crystal, run_of
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.dynamics import MDState, Ramp
from shoal.errors import InputError
from shoal.motion import Evaluation

EACH: dict[str, list[float]] = {
    "temperature": [40.0, 90.0, 60.0],
    "friction": [0.0, 0.05, 0.01],
    "tau": [50.0, 400.0, 100.0],
    "pressure": [0.0, 0.3, -0.02],
    "tau_pressure": [300.0, 3000.0, 1000.0],
    "compressibility": [0.3, 0.1, 1.0],
}
"""A value of each parameter for each of three systems."""

TIMESTEPS = [2.0, 5.0, 4.0]


def structures() -> list[Atoms]:
    return [crystal(0), crystal(1, (1, 1, 2)), crystal(2, (2, 1, 1))]


def with_values(name: str, of: Callable[[list[float]], object]) -> object:
    method = METHODS[name]
    own = [f.name for f in fields(method) if f.name in EACH]  # type: ignore[arg-type]
    return replace(method, **{key: of(EACH[key]) for key in own})  # type: ignore[type-var]


@pytest.mark.parametrize("name", METHODS)
def test_each_system_runs_with_its_own_parameters_as_alone(name: str) -> None:
    batch = run_of(with_values(name, list), structures(), TIMESTEPS, [30.0, 90.0, 60.0], system_ids=[5, 3, 9])  # type: ignore[arg-type]
    together = batch.after(50)
    for s, (atoms, kelvin, system_id) in enumerate(zip(structures(), [30.0, 90.0, 60.0], [5, 3, 9], strict=True)):
        method = with_values(name, lambda values, s=s: values[s])  # type: ignore[misc]
        alone = run_of(method, [atoms], TIMESTEPS[s], kelvin, system_ids=[system_id])  # type: ignore[arg-type]
        end = alone.after(50)
        rows = batch.systems.system_index == s
        for of_atoms in ("positions", "velocities"):
            assert (getattr(together, of_atoms)[rows] - getattr(end, of_atoms)).abs().max() < 1e-10
        assert (together.cell[s] - end.cell[0]).abs().max() < 1e-10
        here = batch.method.conserved(together, batch.systems)[s]
        assert abs(here - alone.method.conserved(end, alone.systems)[0]) < 1e-10


@pytest.mark.parametrize("name", [name for name in METHODS if name != "NVE"])
def test_parameters_for_another_number_of_systems_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="one number for each system"):
        run_of(replace(METHODS[name], temperature=[10.0, 20.0]), structures())  # type: ignore[call-arg]
    with pytest.raises(InputError, match="temperature must not be negative"):
        run_of(replace(METHODS[name], temperature=-1.0), structures())  # type: ignore[call-arg]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in BAROSTATS])
def test_fixed_atoms_stay_and_the_others_move(name: str) -> None:
    fixed = torch.zeros(32, dtype=torch.bool)
    fixed[[3, 20]] = True
    run = run_of(METHODS[name], [crystal(0), crystal(1)], fixed=fixed)
    before, after = run.state, run.after(30)
    assert torch.equal(after.positions[fixed], before.positions[fixed])
    assert (after.velocities[fixed] == 0).all()
    assert (after.positions[~fixed] != before.positions[~fixed]).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_fixed_centre_of_mass_stays_in_the_systems_that_want_it(name: str) -> None:
    run = run_of(METHODS[name], [crystal(0), crystal(1)], fixed_com=[True, False])
    before, after = run.state, run.after(50)
    moved = run.systems.sum(run.systems.masses[:, None] * (after.positions - before.positions)).norm(dim=1)
    moved = moved / run.systems.sum(run.systems.masses)
    assert moved[0] < 1e-11
    assert (after.positions - before.positions).abs().max() > 0.1
    if not METHODS[name].conserves_momentum:
        assert moved[1] > 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_a_single_atom_and_an_empty_batch_run(name: str) -> None:
    atom = Atoms("Ar", positions=[[0.3, 0.1, 0.2]], cell=[30.0] * 3, pbc=True)
    state = run_of(METHODS[name], [atom, crystal(0)]).after(5)
    for leaf in state.leaves():
        assert torch.isfinite(leaf).all()
    assert run_of(METHODS[name], []).after(2).positions.shape == (0, 3)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_a_pure_function_of_tensors(name: str) -> None:
    """Traced at one state, it steps any other of that shape to the same bits, and leaves what it was given."""
    method = METHODS[name]
    if name != "NVE":
        method = replace(method, temperature=Ramp(40.0, 90.0, 30))  # type: ignore[call-arg]
    run = run_of(method, structures())

    def spring(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        forces = -0.01 * positions
        virial = run.systems.sum(positions[:, :, None] * forces[:, None, :])
        return Evaluation(run.systems.sum(0.005 * positions.square().sum(1)), forces, virial)

    def step(*leaves: torch.Tensor) -> list[torch.Tensor]:
        return run.method.step(run.state.with_leaves(leaves), run.systems, spring).leaves()

    traced = make_fx(step)(*run.state.leaves())
    other: MDState = run.after(3)
    kept = [leaf.clone() for leaf in other.leaves()]
    for got, expected in zip(traced(*other.leaves()), step(*other.leaves()), strict=True):
        assert torch.equal(got, expected)
    assert all(torch.equal(a, b) for a, b in zip(kept, other.leaves(), strict=True))
