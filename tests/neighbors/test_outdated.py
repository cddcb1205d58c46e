"""A list that says it is current lacks no pair within the cutoff, however atoms and cell have moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list

from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list

CUTOFF, SKIN = 3.0, 0.8


def _crystal() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.set_cell([[5, 0, 0], [1.5, 4.5, 0], [-1, 2, 5]], scale_atoms=True)
    return atoms


def _open(pbc: tuple[int, int, int], *, zero: bool) -> Atoms:
    atoms = _crystal()
    atoms.pbc = pbc
    if zero:
        atoms.cell[~atoms.pbc] = 0
    return atoms


KINDS = {
    "crystal": _crystal,
    "left-handed crystal": lambda: Atoms("Si", cell=[[0, 2.6, 0], [2.7, 0, 0], [0.4, 0, 2.5]], pbc=True),
    "slab, zero vector": lambda: _open((1, 1, 0), zero=True),
    "slab, vector kept": lambda: _open((1, 0, 1), zero=False),
    "wire": lambda: _open((0, 0, 1), zero=True),
    "molecule": lambda: molecule("C6H6"),
    "molecule in a cell": lambda: Atoms(molecule("C6H6"), cell=[4, 4, 4]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_is_current_lacks_no_pair(kind: str) -> None:
    generator = np.random.default_rng(5)
    verdicts = []
    for _ in range(60):
        atoms = KINDS[kind]()
        atoms.positions += generator.normal(0, 0.3, atoms.positions.shape)
        shifts = generator.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        atoms.positions += shifts @ atoms.cell.array
        before = neighbor_list(atoms_to_state(atoms), CUTOFF, SKIN)
        held = set(map(tuple, torch.cat([before.edge_index.T, before.shifts], 1).tolist()))

        size = 10 ** generator.uniform(-1.5, 0.4)
        deformation = np.eye(3) + 0.2 * size * generator.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ deformation)
        if generator.random() < 0.7:
            atoms.positions = atoms.positions @ deformation
        atoms.positions += size * generator.uniform(-0.5, 0.5, atoms.positions.shape)
        outdated = bool(before.outdated(atoms_to_state(atoms))[0])
        verdicts.append(outdated)
        if not outdated:
            now = np.column_stack(ase_neighbor_list("ijS", atoms, CUTOFF))
            assert set(map(tuple, now.tolist())) <= held
    assert 10 <= sum(verdicts) <= 50


def approaching(gap: float, move: float) -> tuple[Atoms, Atoms]:
    """Two atoms `gap` apart, before and after each has moved towards the other."""
    before = Atoms("Ar2", positions=[[0, 0, 0], [gap, 0, 0]])
    after = before.copy()
    after.positions[:, 0] += [move, -move]
    return before, after


@pytest.mark.parametrize(("excess", "expected"), [(-1e-9, False), (1e-9, True)])
def test_the_displacement_allowed_is_half_the_skin(excess: float, expected: bool) -> None:
    before, after = approaching(CUTOFF + SKIN + 1e-12, SKIN / 2 + excess)
    neighbors = neighbor_list(atoms_to_state(before), CUTOFF, SKIN)
    assert neighbors.n_edges == 0
    assert neighbors.outdated(atoms_to_state(after)).tolist() == [expected]
    assert len(ase_neighbor_list("i", after, CUTOFF)) == (2 if expected else 0)


@pytest.mark.parametrize("strain", [-0.3, 0.3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_large_deformation_outdates_the_list(strain: float, axis: int) -> None:
    state = atoms_to_state(_crystal())
    neighbors = neighbor_list(state, CUTOFF, SKIN)
    deformation = torch.eye(3, dtype=torch.float64)
    deformation[axis, axis] += strain
    deformed = state.replace(positions=state.positions @ deformation, cell=state.cell @ deformation)
    assert neighbors.outdated(deformed).tolist() == [True]


def test_small_strains_that_carry_the_atoms_along_do_not_outdate_it() -> None:
    atoms = _crystal()
    atoms.positions += [300.0, -200.0, 0.0]
    neighbors = neighbor_list(atoms_to_state(atoms), CUTOFF, SKIN)
    atoms.set_cell(atoms.cell.array * 1.05, scale_atoms=True)
    assert neighbors.outdated(atoms_to_state(atoms)).tolist() == [False]


@pytest.mark.parametrize("skin", [0.0, 0.5])
def test_nothing_moved_is_current(skin: float) -> None:
    state = atoms_to_state([make() for make in KINDS.values()])
    assert not neighbor_list(state, CUTOFF, skin).outdated(state).any()


def test_atoms_moved_in_place_are_seen() -> None:
    state = atoms_to_state(_crystal())
    neighbors = neighbor_list(state, CUTOFF, SKIN)
    state.positions[0] += SKIN
    assert neighbors.outdated(state).tolist() == [True]


def test_vectors_of_open_axes_do_not_matter() -> None:
    atoms = _open((1, 1, 0), zero=False)
    neighbors = neighbor_list(atoms_to_state(atoms), CUTOFF, SKIN)
    atoms.cell[2] = [9, 9, 9]
    assert neighbors.outdated(atoms_to_state(atoms)).tolist() == [False]


def test_each_system_has_its_own_verdict_and_nan_is_outdated() -> None:
    frames = [make() for make in (KINDS["crystal"], KINDS["molecule"], KINDS["wire"], KINDS["crystal"])]
    state = atoms_to_state(frames)
    neighbors = neighbor_list(state, CUTOFF, SKIN)
    state.positions[state.offsets[1] + 2, 0] += SKIN
    state.positions[state.offsets[2]] = float("nan")
    state.cell[3, 0, 0] = float("nan")
    assert neighbors.outdated(state).tolist() == [False, True, True, True]
