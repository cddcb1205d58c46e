"""The native kernel gives what the eager model gives, for every NequIP there is."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from ase import Atoms
from tests.architectures.small_models import OPTIONS, Case

from shoal.architectures import NequIP
from shoal.architectures.native import QUANTITIES, Kernel, plan_of, source_of
from shoal.architectures.tabulated import tabulate
from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.native import Target, build, load, load_bytes, runnable_targets
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials._derivatives import energy_and_derivatives
from shoal.state import SimState, concatenate, select

MORE: dict[str, dict[str, Any]] = {"l_max 4": {"l_max": 4}, "l_max 0, residuals": {"l_max": 0, "resnet": True}}
SHORT = {
    "l_max 0, one",
    "l_max 0, residuals",
    "one layer",
    "two layers",
    "cutoffs per pair",
    "neighbours per type",
    "everything",
}
"""What between them uses every line of the generator; compiling the rest takes some minutes."""
CASES = pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("nequip", settings), id=option, marks=[] if option in SHORT else [pytest.mark.slow])
        for option, settings in {**OPTIONS["nequip"], **MORE}.items()
    ],
)


@pytest.fixture(scope="module")
def batch() -> SimState:
    """Molecule, triclinic crystal smaller than the cutoff, slab, lone atom, left-handed crystal."""
    rng = np.random.default_rng(4)

    def scattered(n: int, cell: list[list[float]] | None, pbc: tuple[bool, bool, bool]) -> Atoms:
        atoms = Atoms("HO" * n, rng.uniform(0, 1, (2 * n, 3)))
        atoms.set_cell(np.eye(3) * 4.0 if cell is None else cell)
        atoms.set_scaled_positions((rng.permutation(27)[: 2 * n, None] // [9, 3, 1] % 3 + rng.uniform(0, 0.3)) / 3)
        atoms.rattle(0.1, rng=rng)
        atoms.pbc = pbc
        return atoms

    return atoms_to_state(
        [
            scattered(4, None, (False, False, False)),
            scattered(1, [[2.9, 0, 0], [0.9, 2.8, 0], [-0.4, 0.7, 3.1]], (True, True, True)),
            scattered(3, [[4.2, 0, 0], [0.5, 4.0, 0], [0, 0, 9.0]], (True, True, False)),
            Atoms("O", pbc=False),
            scattered(2, [[0, 3.6, 0], [3.9, 0, 0], [0, 0, 4.1]], (True, True, True)),
        ]
    )


def types_of(state: SimState) -> torch.Tensor:
    return (state.atomic_numbers == 8).to(torch.int64)


def kernel_of(model: NequIP, pieces: int | None = None) -> Kernel:
    plan = plan_of(model, pieces)
    return Kernel(load(source_of(plan)), plan.weights)


def run(kernel: Kernel, state: SimState, neighbors: NeighborList, weights: torch.Tensor | None = None, **options: Any):
    return kernel(
        state.positions,
        state.cell,
        neighbors.offsets,
        neighbors.edge_index[1].contiguous(),
        neighbors.shifts,
        types_of(state),
        state.system_index,
        weights,
        **options,
    )


def eager(model: NequIP, state: SimState, neighbors: NeighborList, weights: torch.Tensor | None = None):
    index, types = neighbors.edge_index, types_of(state)
    return energy_and_derivatives(
        lambda vectors: model(vectors, index, types),
        neighbors.edge_vectors(state.positions, state.cell),
        index,
        state.system_index,
        state.cell,
        energy_weights=weights,
    )


def assert_equal(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], tolerance: float) -> None:
    for name, value in got.items():
        torch.testing.assert_close(
            value, want[name], rtol=0, atol=tolerance, equal_nan=True, msg=lambda m, n=name: n + m
        )


@CASES
def test_it_equals_the_eager_model(case: Case, batch: SimState) -> None:
    model = cast(NequIP, case.model())
    kernel = kernel_of(model)
    neighbors = neighbor_list(batch, model.config.cutoff, skin=0.7)
    some = torch.rand(batch.n_atoms, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for weights in (None, some):
        want = eager(model, batch, neighbors, weights)
        largest = float(want["forces"].abs().max())  # 900 eV/A at l_max 3
        assert largest > 1e-3
        assert_equal(run(kernel, batch, neighbors, weights), want, 2e-14 * max(1.0, largest))
    energies = run(kernel, batch, neighbors, names=("energy", "atomic_energy"))
    assert set(energies) == {"energy", "atomic_energy"}
    assert_equal(energies, want, 2e-14 * max(1.0, largest))


@pytest.fixture(scope="module")
def model() -> NequIP:
    return cast(NequIP, Case("nequip", {"l_max": 2, "num_features": (17, 9, 4)}).model())


@pytest.fixture(scope="module")
def kernel(model: NequIP) -> Kernel:
    return kernel_of(model)


@pytest.mark.parametrize("pieces", [None, 64])
def test_forces_sum_to_zero_in_single_precision_too(pieces: int | None, batch: SimState) -> None:
    """What a pair adds to one atom it takes from the other, to the last digit of float64."""
    model = cast(NequIP, Case("nequip", {"l_max": 1, "num_layers": 2, "model_dtype": "float32"}).model())
    forces = run(kernel_of(model, pieces), batch, neighbor_list(batch, model.config.cutoff))["forces"]
    assert forces.abs().max() > 1e-3
    totals = torch.zeros(batch.n_systems, 3, dtype=torch.float64).index_add(0, batch.system_index, forces)
    assert totals.abs().max() < 1e-13 * batch.n_atoms


@pytest.mark.parametrize("names", [(), *((name,) for name in QUANTITIES), ("stress", "energy")])
def test_results_are_the_same_whichever_are_asked_for(names: tuple[str, ...], kernel: Kernel, batch: SimState) -> None:
    neighbors = neighbor_list(batch, 3.0)
    everything = run(kernel, batch, neighbors)
    some = run(kernel, batch, neighbors, names=names)
    assert tuple(some) == names
    assert_equal(some, everything, 0)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_pairs_found_on_the_way_are_those_of_the_list(
    n_threads: int, model: NequIP, kernel: Kernel, batch: SimState, request: pytest.FixtureRequest
) -> None:
    if n_threads == 2:
        request.getfixturevalue("two_threads")
    cutoff = model.config.cutoff
    for state in (batch, select(batch, [3]), select(batch, []), concatenate([batch] * 9, renumber=True)):
        found = kernel.of_geometry(
            state.positions, state.cell, state.pbc, state.offsets, types_of(state), state.system_index, cutoff
        )
        assert found is not None
        assert_equal(found, run(kernel, state, neighbor_list(state, cutoff)), 1e-13)


def test_what_has_another_shape_is_refused(kernel: Kernel, batch: SimState) -> None:
    neighbors = neighbor_list(batch, 3.0)
    rest = neighbors.offsets, neighbors.edge_index[1], neighbors.shifts, types_of(batch), batch.system_index
    for positions, cell, others in (
        (batch.positions[:, :2], batch.cell, rest),
        (batch.positions, batch.cell[:, :2], rest),
        (batch.positions[1:], batch.cell, rest),
        (batch.positions, batch.cell, (*rest[:2], neighbors.shifts[1:], *rest[3:])),
    ):
        with pytest.raises(InputError, match="not"):
            kernel(positions, cell, *others)


def test_geometry_that_does_not_fit_together_is_refused(kernel: Kernel, batch: SimState) -> None:
    whole = {
        "positions": batch.positions,
        "cell": batch.cell,
        "pbc": batch.pbc,
        "atoms": batch.offsets,
        "types": types_of(batch),
        "system_index": batch.system_index,
    }
    for name, value in {
        "positions": batch.positions[1:],
        "cell": batch.cell[1:],
        "pbc": batch.pbc[1:],
        "atoms": batch.offsets[1:],
        "types": types_of(batch)[:, None],
        "system_index": batch.system_index[1:],
    }.items():
        with pytest.raises(InputError, match="not"):
            kernel.of_geometry(**{**whole, name: value}, cutoff=3.0)
    for atoms in (batch.offsets + 1, batch.offsets.flip(0)):
        with pytest.raises(InputError, match="not those of the state"):
            kernel.of_geometry(**{**whole, "atoms": atoms}, cutoff=3.0)


def test_what_cannot_be_listed_is_not_evaluated(kernel: Kernel, batch: SimState) -> None:
    far, flat, unknown, endless = (
        batch.replace(positions=batch.positions.clone(), cell=batch.cell.clone()) for _ in "abcd"
    )
    far.positions[9, 0] = 1e12
    flat.cell[1, 2] = flat.cell[1, 1]
    unknown.positions[3, 1] = float("nan")
    endless.cell[0, 0, 0] = float("inf")  # of a molecule
    for state in (far, flat, unknown, endless):
        geometry = state.positions, state.cell, state.pbc, state.offsets
        assert kernel.of_geometry(*geometry, types_of(state), state.system_index, 3.0) is None
        with pytest.raises(InputError, match="system"):
            neighbor_list(state, 3.0)


@pytest.mark.parametrize("pieces", [16, 200])
def test_tables_are_those_of_the_spline(pieces: int, model: NequIP, batch: SimState) -> None:
    tabulated = NequIP(model.config)
    tabulated.load_state_dict(model.state_dict())
    tabulate(tabulated, pieces)
    neighbors = neighbor_list(batch, model.config.cutoff)
    want = eager(tabulated, batch, neighbors)
    assert_equal(run(kernel_of(model, pieces), batch, neighbors), want, 1e-12)
    exact = eager(model, batch, neighbors)["forces"]
    share = float((want["forces"] - exact).abs().max() / exact.abs().max())
    assert share < {16: 0.05, 200: 2e-5}[pieces]


def test_float32_is_that_close(batch: SimState) -> None:
    settings = {"l_max": 2, "num_features": (17, 9, 4), "model_dtype": "float32"}
    model = cast(NequIP, Case("nequip", settings).model())
    exact = cast(NequIP, Case("nequip", {**settings, "model_dtype": "float64"}).model())
    exact.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    neighbors = neighbor_list(batch, model.config.cutoff)
    want = eager(exact, batch, neighbors)
    own = max(
        float((eager(model, batch, neighbors)[n] - want[n]).abs().nan_to_num().max()) for n in ("forces", "virial")
    )
    assert_equal(run(kernel_of(model), batch, neighbors), want, 10 * own)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", runnable_targets(), ids=lambda target: target.name)
def test_every_instruction_set(target: Target, dtype: str, batch: SimState) -> None:
    model = cast(NequIP, Case("nequip", {"l_max": 1, "num_features": 5, "model_dtype": dtype}).model())
    plan = plan_of(model, None)
    kernel = Kernel(load_bytes(build(source_of(plan), target)), plan.weights)
    neighbors = neighbor_list(batch, model.config.cutoff)
    want = eager(model, batch, neighbors)
    assert_equal(
        run(kernel, batch, neighbors), want, 1e-12 if dtype == "float64" else 1e-5 * float(want["forces"].abs().max())
    )


def test_forces_are_central_differences_of_its_energy(kernel: Kernel, model: NequIP, batch: SimState) -> None:
    neighbors = neighbor_list(batch, model.config.cutoff, skin=0.5)
    forces = run(kernel, batch, neighbors)["forces"]
    step = 1e-4
    for atom, axis in ((0, 0), (5, 1), (9, 2), (12, 0), (17, 1)):
        energies = []
        for sign in (1, -1):
            positions = batch.positions.clone()
            positions[atom, axis] += sign * step
            energies.append(run(kernel, batch.replace(positions=positions), neighbors)["energy"].sum())
        slope = float(energies[0] - energies[1]) / (2 * step)
        assert float(forces[atom, axis]) == pytest.approx(-slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_system_never_feels_its_batch_mates(threads: int, kernel: Kernel, model: NequIP, batch: SimState) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = run(kernel, batch, neighbor_list(batch, model.config.cutoff))
        for s in range(batch.n_systems):
            alone = select(batch, [s])
            own = run(kernel, alone, neighbor_list(alone, model.config.cutoff))
            atoms = slice(int(batch.offsets[s]), int(batch.offsets[s + 1]))
            for name, value in own.items():
                rows = together[name][atoms] if name in ("atomic_energy", "forces") else together[name][s : s + 1]
                torch.testing.assert_close(value, rows, rtol=1e-14, atol=1e-14, equal_nan=True)
    finally:
        torch.set_num_threads(before)


def test_nan_stays_in_its_system(kernel: Kernel, model: NequIP, batch: SimState) -> None:
    neighbors = neighbor_list(batch, model.config.cutoff)
    want = run(kernel, batch, neighbors)
    positions = batch.positions.clone()
    positions[9] = float("nan")
    got = run(kernel, batch.replace(positions=positions), neighbors)
    sick = batch.system_index == batch.system_index[9]
    assert got["energy"].isnan().tolist() == [s == int(batch.system_index[9]) for s in range(batch.n_systems)]
    assert got["forces"][sick].isnan().any()
    assert torch.equal(got["forces"][~sick], want["forces"][~sick])


def test_nothing_and_next_to_nothing(kernel: Kernel, model: NequIP) -> None:
    empty = atoms_to_state([])
    assert run(kernel, empty, neighbor_list(empty, 3.5))["forces"].shape == (0, 3)
    atom = atoms_to_state([Atoms("O")])
    values = run(kernel, atom, neighbor_list(atom, 3.5))
    assert values["energy"].item() == model.scale_shift.shifts[1].item()
    assert not values["forces"].any()


def test_indices_out_of_range_never_reach_memory(kernel: Kernel, batch: SimState) -> None:
    neighbors = neighbor_list(batch, 3.5)
    good = [batch.positions, batch.cell, neighbors.offsets, neighbors.edge_index[1].contiguous(), neighbors.shifts]
    good += [types_of(batch), batch.system_index]
    for place, value in ((2, -1), (2, 10**6), (3, -1), (3, batch.n_atoms), (5, 2), (5, -1), (6, batch.n_systems)):
        wrong = [tensor.clone() for tensor in good]
        wrong[place][-1] = value
        with pytest.raises(InputError, match="out of range|must lie in 0..1"):
            kernel(*wrong)


def test_its_text_is_the_same_each_time(model: NequIP) -> None:
    assert source_of(plan_of(model, 64)) == source_of(plan_of(model, 64))
