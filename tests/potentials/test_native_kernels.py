"""The C++ kernels of potentials give what the plain torch route gives, whatever the geometry, threads and batch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from shoal.contract import QUANTITIES
from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.native import TARGETS, build, function, runnable_targets, shipped
from shoal.neighbors import neighbor_list
from shoal.potentials import LennardJones, StillingerWeber, Sum
from shoal.potentials.lennard_jones import MODES
from shoal.potentials.short_range import ShortRangePotential
from shoal.state import SimState, select
from shoal.testing import close

TWO = {"Si": (0.3, 2.1), "O": (0.1, 1.9)}
POTENTIALS = {
    **{f"one type, {mode}": LennardJones({"Si": TWO["Si"]}, 4.2, mode) for mode in MODES},
    **{f"two types, {mode}": LennardJones(TWO, 4.2, mode) for mode in MODES},
    "Stillinger-Weber": StillingerWeber(),
}


def rattled(atoms: Atoms, amplitude: float = 0.1) -> Atoms:
    atoms.positions += np.random.default_rng(0).normal(0, amplitude, atoms.positions.shape)
    return atoms


def silicon(molecule_of: Atoms) -> Atoms:
    molecule_of.symbols[:] = "Si"
    molecule_of.positions *= 1.9
    return molecule_of


def slab() -> Atoms:
    atoms = bulk("Si", cubic=True).repeat((2, 2, 1))
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0
    return atoms


def triclinic() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.set_cell([[5, 0, 0], [3, 5.4, 0], [-2, 2.5, 6]], scale_atoms=True)
    return atoms


EYE = torch.eye(3, dtype=torch.float64)
GEOMETRIES = {
    "no atoms": [],
    "one atom": [Atoms("Si")],
    "a pair": [Atoms("Si2", [[0, 0, 0], [0, 1.2, 2.1]])],
    "molecule": [rattled(silicon(molecule("C6H6")))],
    "slab": [rattled(slab())],
    "triclinic": [rattled(triclinic())],
    "smaller than the cutoff": [bulk("Si")],
    "large": [rattled(bulk("Si", cubic=True).repeat(4))],
}
GEOMETRIES["mixed"] = [atoms for batch in GEOMETRIES.values() for atoms in batch]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def state_for(potential: ShortRangePotential, geometry: str) -> SimState:
    batch = [atoms.copy() for atoms in GEOMETRIES[geometry]]
    for atoms in batch if "O" in potential.type_names else []:
        atoms.symbols[::3] = "O"
    return atoms_to_state(batch)


def by_torch(
    potential: ShortRangePotential, state: SimState, weights: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    types = potential.type_map()(state)
    values = potential.compute(state, neighbor_list(state, potential.cutoff), types, weights, create_graph=True)
    return {name: value.detach() for name, value in values.items()}


@pytest.mark.parametrize("skin", [0.0, 1.0])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", POTENTIALS)
def test_quantities_are_those_of_the_torch_route(name: str, geometry: str, skin: float) -> None:
    potential = POTENTIALS[name]
    state = state_for(potential, geometry)
    neighbors = neighbor_list(state, potential.cutoff, skin)
    weights = torch.linspace(-1, 2, state.n_atoms, dtype=torch.float64)
    for chosen in (None, weights):
        assert potential.by_rows(state, neighbors, potential.type_map()(state), chosen) is not None
        values = potential(state, neighbors, QUANTITIES, energy_weights=chosen)
        expected = by_torch(potential, state, chosen)
        for quantity, value in values.items():
            assert not value.requires_grad
            assert torch.equal(value.isnan(), expected[quantity].isnan())  # a stress without a volume
            close(value.nan_to_num(), expected[quantity].nan_to_num(), 1e-12)


@pytest.mark.parametrize("geometry", ["molecule", "slab", "triclinic", "smaller than the cutoff"])
@pytest.mark.parametrize("name", POTENTIALS)
def test_forces_and_virial_are_central_differences(name: str, geometry: str) -> None:
    potential, step = POTENTIALS[name], 1e-5
    state = state_for(potential, geometry)
    weights = torch.linspace(0.5, 2, state.n_atoms, dtype=torch.float64)

    def weighted(positions: torch.Tensor, cell: torch.Tensor) -> float:
        moved = state.replace(positions=positions, cell=cell)
        atomic = potential(moved, neighbor_list(moved, potential.cutoff), ["atomic_energy"])["atomic_energy"]
        return float((weights * atomic).sum())

    values = potential(state, neighbor_list(state, potential.cutoff), QUANTITIES, energy_weights=weights)
    for atom, axis in ((0, 0), (1, 2)):
        move = torch.zeros_like(state.positions)
        move[atom, axis] = step
        there, back = (weighted(state.positions + sign * move, state.cell) for sign in (1, -1))
        close(values["forces"][atom, axis], -(there - back) / (2 * step), 1e-7)
    for a, b in ((0, 0), (1, 2)):
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[a, b] = step
        there, back = (
            weighted(state.positions @ (EYE + sign * strain), state.cell @ (EYE + sign * strain)) for sign in (1, -1)
        )
        close(values["virial"][0, a, b], -(there - back) / (2 * step), 1e-7)


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_system_has_the_same_bits_in_any_batch(name: str, threads: int) -> None:
    potential = POTENTIALS[name]
    state = state_for(potential, "mixed")
    whole = potential(state, neighbor_list(state, potential.cutoff, 0.7), QUANTITIES)
    torch.set_num_threads(1)
    offsets = state.offsets.tolist()
    for s in range(state.n_systems):
        one = select(state, [s])
        alone = potential(one, neighbor_list(one, potential.cutoff, 0.7), QUANTITIES)
        for quantity, value in alone.items():
            per_atom = QUANTITIES[quantity].scope == "atom"
            rows = slice(offsets[s], offsets[s + 1]) if per_atom else slice(s, s + 1)
            assert torch.equal(value.nan_to_num(), whole[quantity][rows].nan_to_num())


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_position_that_is_no_number_shows_in_its_system_only(name: str) -> None:
    potential = POTENTIALS[name]
    state = atoms_to_state([rattled(bulk("Si", cubic=True)) for _ in range(3)])
    neighbors = neighbor_list(state, potential.cutoff, 0.5)
    positions = state.positions.clone()
    positions[11, 1] = float("nan")
    values = potential(state.replace(positions=positions), neighbors, QUANTITIES)
    for quantity in ("energy", "virial", "stress"):
        assert torch.isfinite(values[quantity].reshape(3, -1)).all(1).tolist() == [True, False, True]
    assert torch.isnan(values["forces"][11]).all()
    assert torch.isfinite(values["forces"][:8]).all()
    assert torch.isfinite(values["forces"][16:]).all()


@pytest.mark.parametrize("target", [target.name for target in runnable_targets()])
@pytest.mark.parametrize("name", ["two types, switch", "Stillinger-Weber"])
def test_every_instruction_set_that_runs_here_gives_the_same(name: str, target: str, tmp_path: Path) -> None:
    potential = POTENTIALS[name]
    state = state_for(potential, "mixed")
    weights = torch.linspace(-1, 2, state.n_atoms, dtype=torch.float64)
    neighbors, types = neighbor_list(state, potential.cutoff, 0.5), potential.type_map()(state)
    evaluate, kernel = potential.by_rows(state, neighbors, types, weights), potential.kernel
    assert kernel is not None
    library = tmp_path / "kernel.so"
    library.write_bytes(build(shipped(f"{kernel.name}.cpp"), TARGETS[target], dict(kernel.defines)))
    evaluate.call = function(ctypes.CDLL(str(library)), kernel.name, f"ppp{kernel.arguments}ipppp")  # type: ignore[union-attr]
    expected = by_torch(potential, state, weights)
    for quantity, value in evaluate(state.positions, state.cell)._asdict().items():  # type: ignore[misc]
        close(value, expected[quantity], 1e-12)


@pytest.mark.parametrize("name", POTENTIALS)
def test_without_a_virial_the_rest_is_the_same(name: str) -> None:
    potential = POTENTIALS[name]
    state = state_for(potential, "mixed")
    neighbors, types = neighbor_list(state, potential.cutoff, 0.5), potential.type_map()(state)
    for evaluate in (each.by_rows(state, neighbors, types) for each in (potential, Sum(potential))):
        assert evaluate is not None
        whole, part = (evaluate(state.positions, state.cell, strain) for strain in (True, False))
        for quantity in ("energy", "forces", "atomic_energy"):
            close(getattr(part, quantity), getattr(whole, quantity), 1e-13)  # the compiler may round another way
        assert part.virial.isnan().all()
        assert not whole.virial.isnan().any()


@pytest.mark.parametrize("name", POTENTIALS)
def test_single_precision_is_taken_as_numbers_and_other_sizes_are_refused(name: str) -> None:
    potential = POTENTIALS[name]
    state = state_for(potential, "mixed").to(dtype=torch.float32)
    exact = state.to(dtype=torch.float64)
    neighbors = neighbor_list(exact, potential.cutoff, 0.5)
    evaluate = potential.by_rows(state, neighbors, potential.type_map()(state))
    assert evaluate is not None
    found, expected = evaluate(state.positions, state.cell), evaluate(exact.positions, exact.cell)
    for quantity, value in found._asdict().items():
        assert value.dtype == torch.float64
        assert torch.equal(value, getattr(expected, quantity))
    for fewer in ((exact.positions[1:], exact.cell), (exact.positions, exact.cell[1:])):
        with pytest.raises(InputError, match=f"the list is of {state.n_atoms} atoms"):
            evaluate(*fewer)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_a_type_that_is_none_is_refused(wrong: int) -> None:
    potential = POTENTIALS["two types, none"]
    state = state_for(potential, "molecule")
    types = potential.type_map()(state)
    types[4] = wrong
    with pytest.raises(InputError, match="atom types must lie in 0..1"):
        potential(state, neighbor_list(state, potential.cutoff), atom_types=types)


def test_a_sum_adds_what_its_terms_give_by_rows() -> None:
    potential = Sum(POTENTIALS["one type, switch"], POTENTIALS["Stillinger-Weber"])
    state = state_for(POTENTIALS["Stillinger-Weber"], "mixed")
    neighbors, types = neighbor_list(state, 4.2, 0.5), torch.zeros(state.n_atoms, dtype=torch.int64)
    evaluate = potential.by_rows(state, neighbors, types)
    assert evaluate is not None
    expected = potential(state, neighbors, QUANTITIES)
    for name, value in evaluate(state.positions, state.cell)._asdict().items():
        close(value, expected[name], 1e-13)


def test_a_subclass_with_other_energies_is_not_given_those_of_the_kernel() -> None:
    class Doubled(LennardJones):
        def pair_energies(self, *arguments: torch.Tensor) -> torch.Tensor:
            return 2 * super().pair_energies(*arguments)

    state = state_for(POTENTIALS["one type, switch"], "mixed")
    neighbors = neighbor_list(state, 4.2)
    doubled, single = (kind({"Si": TWO["Si"]}, 4.2)(state, neighbors) for kind in (Doubled, LennardJones))
    close(doubled["forces"], 2 * single["forces"], 1e-13)
