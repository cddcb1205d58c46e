"""Every backend finds the pairs that ase.neighborlist finds, for any cell, size and periodicity."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list

from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, neighbor_list
from shoal.state import check_geometry

Pair = tuple[int, ...]


def jumbled(atoms: Atoms, amplitude: float, seed: int = 0) -> Atoms:
    atoms.positions += np.random.default_rng(seed).normal(0, amplitude, (len(atoms), 3))
    return atoms


def with_axes(pbc: tuple[int, ...], *, zero: bool) -> Atoms:
    """A skewed crystal with some axes open, their vectors kept or zero, its atoms strewn about."""
    atoms = bulk("Si", cubic=True)
    atoms.set_cell([[5, 0, 0], [1, 4.5, 0], [-0.7, 1.5, 5]], scale_atoms=True)
    atoms.pbc = pbc
    if zero:
        atoms.cell[~atoms.pbc] = 0
    return jumbled(atoms, 4.0)


def slab(**changes: Any) -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), **changes)
    atoms.pbc = (True, True, False)
    return atoms


def recelled(cell: list[list[float]], scale_atoms: bool = True) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.set_cell(cell, scale_atoms=scale_atoms)
    return atoms


STRUCTURES = {
    "molecule": molecule("CH3CH2OH"),
    "molecule with a small cell": Atoms("OH2", [[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], cell=[1, 1, 1]),
    "one atom": Atoms("Ar"),
    "no atoms": Atoms(cell=[3, 3, 3], pbc=True),
    "far apart": Atoms("Ar2", positions=[[0, 0, 0], [1e4, 0, 0]]),
    "slab, zero third vector": slab(),
    "slab in vacuum": slab(vacuum=5.0),
    "one-atom cell": bulk("Cu"),
    "many images of one atom": Atoms("Ar", cell=[1.1, 1.3, 1.2], pbc=True),
    "flat cell": Atoms("Ar", cell=[[2, 0, 0], [0, 2, 0], [1.9, 1.9, 0.6]], pbc=True),
    "skewed": recelled([[5, 0, 0], [7, 4, 0], [-6, 5.5, 6]]),
    "left-handed": recelled([[0, 5.4, 0], [5.4, 0, 0], [0, 1.0, 5.4]]),
    "outside the cell": jumbled(bulk("Si", cubic=True), 40.0),
    "on the faces": Atoms("Si2", scaled_positions=[[0, 0, 0], [1, 1, 1]], cell=[4, 4, 4], pbc=True),
    **{f"axes {p}, vectors kept": with_axes(p, zero=False) for p in product((0, 1), repeat=3)},
    **{f"axes {p}, zero vectors": with_axes(p, zero=True) for p in product((0, 1), repeat=3)},
}
CPU_BACKENDS = ("native", "vesin", "reference")


def ase_pairs(atoms: Atoms, cutoff: float) -> Counter[Pair]:
    return Counter(map(tuple, np.column_stack(ase_neighbor_list("ijS", atoms, cutoff)).tolist()))


def pairs(neighbors: NeighborList) -> Counter[Pair]:
    return Counter(map(tuple, torch.cat([neighbors.edge_index.T, neighbors.shifts], 1).tolist()))


@pytest.mark.parametrize("cutoff", [2.9, 6.3])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_pairs_are_those_of_ase(backend: str, name: str, cutoff: float) -> None:
    atoms = STRUCTURES[name]
    assert pairs(neighbor_list(atoms_to_state(atoms), cutoff, backend=backend)) == ase_pairs(atoms, cutoff)


@pytest.mark.parametrize("n_systems", [1, 3])
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_native_code_can_take_the_list_as_it_is(backend: str, n_systems: int) -> None:
    neighbors = neighbor_list(atoms_to_state([bulk("Si", cubic=True)] * n_systems), 4.0, backend=backend)
    assert neighbors.edge_index.is_contiguous()
    assert neighbors.shifts.is_contiguous()
    assert neighbors.edge_index.dtype == neighbors.shifts.dtype == torch.int64


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_mixed_batch_has_the_pairs_of_each_system_and_no_others(backend: str) -> None:
    state = atoms_to_state(list(STRUCTURES.values()))
    expected: Counter[Pair] = Counter()
    for start, atoms in zip(state.offsets.tolist(), STRUCTURES.values(), strict=False):
        expected.update((i + start, j + start, *shift) for i, j, *shift in ase_pairs(atoms, 3.9).elements())
    neighbors = neighbor_list(state, 3.9, backend=backend)
    assert pairs(neighbors) == expected
    assert torch.equal(*state.system_index[neighbors.edge_index])


@pytest.fixture(scope="module")
def mixed() -> NeighborList:
    return neighbor_list(atoms_to_state(list(STRUCTURES.values())), 4.0)


def test_edge_vectors_point_from_centre_to_neighbour(mixed: NeighborList) -> None:
    for atoms in (STRUCTURES["skewed"], STRUCTURES["axes (1, 0, 1), vectors kept"]):
        state = atoms_to_state(atoms)
        neighbors = neighbor_list(state, 4.0)
        i, j, shift, vectors = ase_neighbor_list("ijSD", atoms, 4.0)
        expected = {tuple(key): v for *key, v in zip(i, j, *shift.T, vectors, strict=True)}
        for key, vector in zip(
            torch.cat([neighbors.edge_index.T, neighbors.shifts], 1).tolist(),
            neighbors.edge_vectors(state.positions, state.cell).numpy(),
            strict=True,
        ):
            np.testing.assert_allclose(vector, expected[tuple(key)], rtol=0, atol=1e-12)


def test_offsets_bound_the_edges_of_each_atom(mixed: NeighborList) -> None:
    centres = mixed.edge_index[0].numpy()
    n_atoms = mixed.positions.shape[0]
    assert mixed.offsets.shape == (n_atoms + 1,)
    assert (np.diff(centres) >= 0).all()
    np.testing.assert_array_equal(np.diff(mixed.offsets.numpy()), np.bincount(centres, minlength=n_atoms))


def test_reverse_is_the_same_edge_seen_from_its_other_end(mixed: NeighborList) -> None:
    back = mixed.reverse
    assert torch.equal(back[back], torch.arange(mixed.n_edges))
    assert torch.equal(mixed.edge_index[:, back], mixed.edge_index.flip(0))
    assert torch.equal(mixed.shifts[back], -mixed.shifts)
    vectors = mixed.edge_vectors(mixed.positions, mixed.cell)
    assert torch.equal(vectors[back], -vectors)


@pytest.mark.parametrize("drop", [0, -1])
def test_a_one_sided_list_is_refused(mixed: NeighborList, drop: int) -> None:
    keep = torch.ones(mixed.n_edges, dtype=torch.bool)
    keep[drop] = False
    half = mixed.edge_index[0] < mixed.edge_index[1]
    for rows in (keep, half):
        with pytest.raises(InputError, match="one-sided"):
            _ = replace(mixed, edge_index=mixed.edge_index[:, rows], shifts=mixed.shifts[rows]).reverse


def test_no_edges_have_offsets_and_reverse_too() -> None:
    neighbors = neighbor_list(atoms_to_state([Atoms("Ar"), Atoms()]), 5.0)
    assert neighbors.n_edges == 0
    assert neighbors.offsets.tolist() == [0, 0]
    assert neighbors.reverse.shape == (0,)
    assert neighbor_list(atoms_to_state([]), 5.0).n_edges == 0


@pytest.mark.parametrize("name", ["skewed", "slab, zero third vector", "axes (1, 0, 0), vectors kept", "molecule"])
def test_within_is_the_list_of_the_shorter_cutoff(name: str) -> None:
    state = atoms_to_state(STRUCTURES[name])
    moved = state.replace(positions=state.positions + 0.1 * torch.sin(37 * state.positions))
    shorter = neighbor_list(state, 5.0, 1.0).within(3.7, moved.positions, moved.cell)
    assert pairs(shorter) == pairs(neighbor_list(moved, 3.7))
    assert (shorter.cutoff, shorter.skin) == (3.7, 0.0)
    for name in ("offsets", "reverse"):
        assert torch.equal(getattr(shorter, name), getattr(replace(shorter), name))


@pytest.mark.parametrize("name", ["skewed", "left-handed", "slab in vacuum", "one-atom cell", "outside the cell"])
def test_wrapping_atoms_changes_no_edge_vector(name: str) -> None:
    def vectors(atoms: Atoms) -> list[np.ndarray]:
        """Edge vectors of each atom pair, in an order that wrapping does not change."""
        state = atoms_to_state(atoms)
        neighbors = neighbor_list(state, 5.0)
        rows = np.column_stack(
            [neighbors.edge_index.T.numpy(), neighbors.edge_vectors(state.positions, state.cell).numpy()]
        )
        return rows[np.lexsort(rows.round(6).T[::-1])]

    atoms = STRUCTURES[name].copy()
    here = vectors(atoms)
    shifts = np.random.default_rng(1).integers(-3, 4, (len(atoms), 3)) * atoms.pbc
    atoms.positions += shifts @ atoms.cell.array
    np.testing.assert_allclose(vectors(atoms), here, rtol=0, atol=1e-10)
    atoms.wrap()
    np.testing.assert_allclose(vectors(atoms), here, rtol=0, atol=1e-10)


def test_a_float32_state_has_the_pairs_of_its_numbers_in_float64() -> None:
    state = atoms_to_state([STRUCTURES["skewed"], STRUCTURES["molecule"]], dtype=torch.float32)
    neighbors = neighbor_list(state, 5.0)
    assert pairs(neighbors) == pairs(neighbor_list(state.to(dtype=torch.float64), 5.0))
    assert neighbors.positions.dtype == torch.float64


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_the_skin_lengthens_the_list(backend: str) -> None:
    state = atoms_to_state(STRUCTURES["skewed"])
    assert pairs(neighbor_list(state, 3.0, 1.3, backend=backend)) == ase_pairs(STRUCTURES["skewed"], 4.3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"cutoff": float("nan")}, "cutoff must be positive"),
        ({"cutoff": float("inf")}, "cutoff must be positive"),
        ({"cutoff": 3.0, "skin": -0.1}, "skin not negative"),
        ({"cutoff": 3.0, "skin": float("nan")}, "skin not negative"),
        ({"cutoff": 3.0, "backend": "octree"}, "unknown .* 'octree'; there are native, vesin, reference, nvalchemi"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        neighbor_list(atoms_to_state(molecule("H2O")), **arguments)


@pytest.mark.parametrize(("field", "value"), [("positions", float("nan")), ("cell", float("inf")), ("cell", 0.0)])
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_broken_geometry_never_reaches_native_code(backend: str, field: str, value: float) -> None:
    state = atoms_to_state([molecule("H2O"), bulk("Si")], system_ids=[3, 8])
    getattr(state, field)[-1] = value
    with pytest.raises(InputError, match="system 8"):
        neighbor_list(state, 5.0, backend=backend)


DEPENDENT = [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 5.0, 0.0]]


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("positions", float("nan")),
        ("positions", float("inf")),
        ("cell", float("nan")),
        ("cell", DEPENDENT),
        ("cell", 0.0),
    ],
    ids=["NaN position", "infinite position", "NaN cell", "dependent vectors", "no vectors"],
)
def test_one_broken_crystal_among_sound_ones_is_found(backend: str, field: str, value: Any) -> None:
    """Where all systems are periodic along all axes, too, which a quick look accepts."""
    state = atoms_to_state([bulk("Cu"), bulk("Si", cubic=True), bulk("Si")], system_ids=[3, 8, 5])
    if field == "positions":
        state.positions[2, 1] = value
    else:
        state.cell[1] = torch.tensor(value, dtype=torch.float64)
    with pytest.raises(InputError, match="system 8"):
        neighbor_list(state, 5.0, backend=backend)


def test_numbers_whose_sum_is_too_large_are_no_error() -> None:
    check_geometry(atoms_to_state([Atoms("Ar2", positions=[[0, 0, 1e308], [0, 0, 1.5e308]])]))


@pytest.mark.gpu
@pytest.mark.parametrize("cutoff", [2.9, 6.3])
def test_the_gpu_backend_finds_the_pairs_of_the_reference(cutoff: float) -> None:
    dense = jumbled(Atoms("H200", positions=np.zeros((200, 3))), 0.5)
    for atoms in (*STRUCTURES.values(), dense):
        state = atoms_to_state(atoms)
        on_gpu = neighbor_list(state.to("cuda"), cutoff)
        assert on_gpu.edge_index.is_cuda
        assert pairs(on_gpu) == pairs(neighbor_list(state, cutoff, backend="reference"))
    state = atoms_to_state([*STRUCTURES.values(), dense])
    on_gpu = neighbor_list(state.to("cuda"), cutoff)
    assert pairs(on_gpu) == pairs(neighbor_list(state, cutoff, backend="reference"))
    assert (on_gpu.edge_index[0].diff() >= 0).all()
    assert torch.equal(on_gpu.reverse[on_gpu.reverse].cpu(), torch.arange(on_gpu.n_edges))


def test_where_a_copied_list_lies_is_not_where_the_first_one_lay(mixed: NeighborList) -> None:
    """Kernels read memory at these addresses."""
    assert mixed.addresses is not None
    for copied in (copy.deepcopy(mixed), pickle.loads(pickle.dumps(mixed))):
        assert copied.addresses == tuple(t.data_ptr() for t in (copied.offsets, copied.neighbor, copied.shifts))
        assert not set(copied.addresses) & set(mixed.addresses)
    assert dataclasses.replace(mixed, edge_index=mixed.edge_index.to(torch.int32)).addresses is None
    with pytest.raises(InputError, match="not those of its edges"):
        _ = dataclasses.replace(mixed, shifts=mixed.shifts[1:]).addresses
