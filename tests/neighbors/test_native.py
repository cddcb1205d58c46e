"""The native backend: any geometry, one system's list whatever is beside it, and what it makes on the way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.neighbors.test_neighbor_list import STRUCTURES, pairs

from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, neighbor_list
from shoal.state import SimState, select


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def native(state: SimState | Atoms, cutoff: float, skin: float = 0.0) -> NeighborList:
    state = state if isinstance(state, SimState) else atoms_to_state(state)
    return neighbor_list(state, cutoff, skin, backend="native")


def strewn(n: int, size: float, seed: int = 0, **cell: object) -> Atoms:
    return Atoms(f"Ar{n}", positions=np.random.default_rng(seed).uniform(0, size, (n, 3)), **cell)


LARGE = {
    "gas": strewn(1500, 30.0),
    "crystal": bulk("Si", cubic=True).repeat(5),
    "skewed, wrapped nowhere": Atoms(
        f"Ar{700}",
        positions=np.random.default_rng(1).normal(0, 60, (700, 3)),
        cell=[[14, 0, 0], [9, 13, 0], [-6, 5, 15]],
        pbc=True,
    ),
    "slab": strewn(600, 20.0, cell=[20, 20, 1], pbc=(True, True, False)),
    "clusters far apart": Atoms(
        "Ar400",
        positions=np.repeat([[0, 0, 0], [1e7, -1e7, 3e7]], 200, 0) + np.random.default_rng(2).uniform(0, 8, (400, 3)),
    ),
}


@st.composite
def structures(draw: st.DrawFn) -> Atoms:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    n = draw(st.integers(0, 8))
    cell = rng.normal(0, 3, (3, 3)) + np.diag(rng.choice([-4.0, 4.0], 3))
    if draw(st.booleans()):
        cell[~np.array(pbc)] = 0
    spread = draw(st.sampled_from([0.5, 3.0, 9.0]))
    positions = rng.normal(0, spread, (n, 3))
    if draw(st.booleans()):
        positions = positions.round()  # distances that are equal to the last digit
    return Atoms(f"Ar{n}", positions=positions, cell=cell, pbc=pbc)


@settings(max_examples=40, deadline=None)
@given(st.lists(structures(), min_size=1, max_size=2), st.sampled_from([1.0, 2.0, 3.7]))
def test_made_up_structures_have_the_pairs_of_the_reference(batch: list[Atoms], cutoff: float) -> None:
    state = atoms_to_state(
        [atoms for atoms in batch if np.linalg.matrix_rank(atoms.cell.array[atoms.pbc]) == sum(atoms.pbc)]
    )
    assert pairs(native(state, cutoff)) == pairs(neighbor_list(state, cutoff, backend="reference"))


@pytest.mark.parametrize("name", LARGE)
def test_large_systems_have_the_pairs_of_vesin(name: str, threads: int) -> None:
    state = atoms_to_state(LARGE[name])
    found = native(state, 4.1)
    assert found.n_edges > 0
    assert pairs(found) == pairs(neighbor_list(state, 4.1, backend="vesin"))


@pytest.mark.parametrize("cutoff", [1.1, 2.2, 1.1 * np.sqrt(2), 3.3, 1.1 * 5])
def test_neighbours_at_the_cutoff_itself_are_those_of_edge_vectors(cutoff: float) -> None:
    """In a cubic crystal whole shells are at the cutoff, on one side or the other by rounding."""
    atoms = Atoms("Ar", cell=[1.1] * 3, pbc=True).repeat(3)
    atoms.positions += np.random.default_rng(0).integers(-1, 2, (len(atoms), 3)) * 3.3
    state = atoms_to_state(atoms)
    wider = native(state, cutoff, 0.5)
    assert pairs(native(state, cutoff)) == pairs(neighbor_list(state, cutoff, backend="reference"))
    assert pairs(native(state, cutoff)) == pairs(wider.within(cutoff, state.positions, state.cell))


def same(a: NeighborList, b: NeighborList, atoms: int = 0, edges: int = 0) -> bool:
    """Bit for bit, `b` standing so many atoms and edges later in its batch."""
    return (
        torch.equal(a.edge_index, b.edge_index - atoms)
        and torch.equal(a.shifts, b.shifts)
        and torch.equal(a.offsets, b.offsets - edges)
        and torch.equal(a.reverse, b.reverse - edges)
    )


def test_a_system_has_the_same_list_in_any_batch(threads: int) -> None:
    batch = [*STRUCTURES.values(), *LARGE.values()]
    state = atoms_to_state(batch)
    whole = native(state, 3.9)
    torch.set_num_threads(1)
    rows = state.offsets.tolist()
    for s in range(state.n_systems):
        alone = native(select(state, [s]), 3.9)
        first, last = (int(whole.offsets[row]) for row in rows[s : s + 2])
        part = NeighborList(whole.edge_index[:, first:last], whole.shifts[first:last], *[torch.empty(0)] * 4, 3.9)
        part.with_rows(whole.offsets[rows[s] : rows[s + 1] + 1], whole.reverse[first:last])
        assert same(alone, part, rows[s], first)


def test_what_comes_with_the_pairs_is_what_is_found_from_them(threads: int) -> None:
    made = native(atoms_to_state([*STRUCTURES.values(), *LARGE.values()]), 4.0)
    bare = NeighborList(**{name: getattr(made, name) for name in NeighborList.__dataclass_fields__})
    assert {"offsets", "reverse"} <= vars(made).keys()
    assert not {"offsets", "reverse"} & vars(bare).keys()
    assert same(made, bare)


def test_rows_are_in_order_of_neighbour_and_shift() -> None:
    found = native(atoms_to_state([STRUCTURES["skewed"], STRUCTURES["many images of one atom"], LARGE["slab"]]), 5.0)
    rows = torch.cat([found.edge_index.T, found.shifts], 1).tolist()
    assert rows == sorted(rows)


def test_the_order_does_not_depend_on_the_cell_an_atom_is_in() -> None:
    atoms = LARGE["crystal"].copy()
    inside = native(atoms, 4.0)
    atoms.positions += np.random.default_rng(3).integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    assert torch.equal(native(atoms, 4.0).edge_index, inside.edge_index)


def test_extreme_coordinates_are_answered() -> None:
    far = Atoms("Ar3", positions=[[0, 0, 1e308], [0, 0, -1.7e308], [1, 0, 1e308]])
    assert pairs(native(far, 4.0)) == {(0, 2, 0, 0, 0): 1, (2, 0, 0, 0, 0): 1}
    outside = Atoms("Ar", positions=[[1e12, 0, 0]], cell=[3, 3, 3], pbc=True)
    with pytest.raises(InputError, match="system 1 .* more than 1e9 cells outside"):
        native(atoms_to_state([bulk("Si"), outside]), 4.0)
    with pytest.raises(InputError, match="system 0 .* 2e9 images"):
        native(Atoms("Ar", cell=[1e-6, 1, 1], pbc=True), 5.0)
