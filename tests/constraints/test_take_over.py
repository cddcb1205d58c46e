"""Constraints of structures and of the caller become what a run looks at; what is not understood is refused."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms
from ase import constraints as ase_constraints
from ase.build import fcc111, molecule

from shoal.constraints import Constraint, FixAtoms, FixCenterOfMass, constrained
from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.state import select


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 1, 3), vacuum=5.0)
    atoms.set_constraint(ase_constraints.FixAtoms(mask=[atom.tag == 3 for atom in atoms]))
    return atoms


def water(*constraints: ase_constraints.FixConstraint) -> Atoms:
    atoms = molecule("H2O")
    atoms.set_constraint(list(constraints))
    return atoms


def test_each_system_keeps_what_it_came_with() -> None:
    frames = [slab(), water(), water(ase_constraints.FixCom()), water(ase_constraints.FixAtoms([-1]))]
    state = atoms_to_state(frames, system_ids=[4, 1, 7, 2])
    fixed, fixed_com = constrained(state)
    assert fixed.tolist() == [True, True, *[False] * 10, *[False, False, True]]
    assert fixed_com.tolist() == [False, False, True, False]
    assert constrained(select(state, [3, 0]))[0].tolist() == [False, False, True, True, True, *[False] * 4]


def test_several_constraints_add_up() -> None:
    both = water(ase_constraints.FixAtoms([0]), ase_constraints.FixAtoms(mask=[False, True, False]))
    assert constrained(atoms_to_state(both))[0].tolist() == [True, True, False]


@pytest.mark.parametrize(
    "constraint",
    [
        FixAtoms([0, -1]),
        FixAtoms(torch.tensor([0, 2])),
        FixAtoms(mask=[True, False, True]),
        ase_constraints.FixAtoms([0, 2]),
    ],
)
def test_those_of_the_caller_hold_for_every_system_in_addition(constraint: Constraint) -> None:
    state = atoms_to_state([water(), water(ase_constraints.FixAtoms([1]))])
    fixed, fixed_com = constrained(state, [constraint])
    assert fixed.tolist() == [True, False, True, True, True, True]
    assert not fixed_com.any()


@pytest.mark.parametrize("constraint", [FixCenterOfMass(), ase_constraints.FixCom()])
def test_the_centre_of_mass_of_every_system(constraint: Constraint) -> None:
    assert constrained(atoms_to_state([water(), water()]), [constraint])[1].all()


def test_nothing_is_held_without_constraints() -> None:
    state = atoms_to_state([slab(), water()])
    for bare in (state.replace(sources=None), select(state, [1])):
        for given in (None, (), [FixAtoms([])]):
            fixed, fixed_com = constrained(bare, given)
            assert not fixed.any()
            assert not fixed_com.any()
    nothing = constrained(atoms_to_state([]), [FixCenterOfMass()])
    assert [len(mask) for mask in nothing] == [0, 0]


UNKNOWN = {
    "FixBondLength": ase_constraints.FixBondLength(0, 1),
    "FixCartesian": ase_constraints.FixCartesian([0], mask=(True, False, False)),
    "FixSubsetCom": ase_constraints.FixSubsetCom([0, 1]),
    "Hookean": ase_constraints.Hookean(0, 1, k=5.0, rt=1.0),
    "FixedPlane": ase_constraints.FixedPlane(0, (0, 0, 1)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_constraint_is_refused_by_name(name: str) -> None:
    state = atoms_to_state([water(), water(UNKNOWN[name])], system_ids=[5, 9])
    with pytest.raises(InputError, match=rf"system 9: .*{name}.*set_constraint\(\)"):
        constrained(state)
    with pytest.raises(InputError, match=rf"constraints=: .*{name}"):
        constrained(select(state, [0]), [UNKNOWN[name]])


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (FixAtoms([3]), "system 5: FixAtoms names atom 3, there are 3 atoms"),
        (FixAtoms([-4]), "system 5: FixAtoms names atom -4"),
        (FixAtoms(mask=[True, False]), "system 5: a mask of FixAtoms is one bool for each of 3 atoms"),
        (FixAtoms(mask=[0, 1, 0]), "one bool for each"),  # type: ignore[list-item]
        (FixAtoms([True, False, True]), "indices of FixAtoms are integers"),
        (FixAtoms([0.0]), "indices of FixAtoms are integers"),  # type: ignore[list-item]
        ("FixAtoms", "the constraint str is unknown"),
    ],
)
def test_what_does_not_fit_a_system_is_refused(constraint: object, message: str) -> None:
    state = atoms_to_state([water()], system_ids=[5])
    with pytest.raises(InputError, match=message):
        constrained(state, [constraint])  # type: ignore[list-item]


def test_one_constraint_is_no_sequence() -> None:
    with pytest.raises(InputError, match="constraints= takes a sequence"):
        constrained(atoms_to_state([water()]), FixCenterOfMass())  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{}, {"indices": [0], "mask": [True]}])
def test_fixed_atoms_are_given_in_one_way(arguments: dict[str, list[int]]) -> None:
    with pytest.raises(InputError, match="one of the two"):
        FixAtoms(**arguments)  # type: ignore[arg-type]


def test_fixed_atoms_and_a_fixed_centre_of_mass_contradict_each_other() -> None:
    state = atoms_to_state([water(ase_constraints.FixCom()), water(ase_constraints.FixAtoms([0]))], system_ids=[3, 8])
    with pytest.raises(InputError, match="system 3: fixed atoms and a fixed centre of mass"):
        constrained(state, [FixAtoms([1])])
    with pytest.raises(InputError, match="system 8: fixed atoms and a fixed centre of mass"):
        constrained(state, [FixCenterOfMass()])
