"""Every atom gets the type the map says, or a message that names what is wrong."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from shoal.errors import ShoalWarning, UnsupportedSpeciesError
from shoal.io import atoms_to_state
from shoal.state import SimState, TypeMap


def labelled(atoms: Atoms, labels: list[str]) -> Atoms:
    atoms.set_array("type_label", np.array(labels))
    return atoms


def test_omitted_is_identity_with_one_warning() -> None:
    with pytest.warns(ShoalWarning, match="chemical_species_to_atom_type_map was not given") as caught:
        types = TypeMap.from_argument(["O", "H"])
    assert len(caught) == 1
    assert types(atoms_to_state(molecule("H2O"))).tolist() == [0, 1, 1]


def test_omitted_names_the_types_that_are_no_elements() -> None:
    with pytest.warns(ShoalWarning, match="O_water are no elements"):
        types = TypeMap.from_argument(["O_water", "H"])
    assert types.species == {"H": "H"}


@pytest.mark.parametrize("argument", [True, None])
def test_true_is_identity_and_a_stored_map_is_used_both_in_silence(argument: Any) -> None:
    stored = None if argument is True else {"Si": "Si", "O": "O"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        types = TypeMap.from_argument(["Si", "O"], argument, stored=stored)
    assert types.species == {"Si": "Si", "O": "O"}
    assert types(atoms_to_state(Atoms("OSi"))).tolist() == [1, 0]


def test_an_argument_goes_before_the_stored_map() -> None:
    types = TypeMap.from_argument(["a", "b"], {"Si": "b"}, stored={"Si": "a"})
    assert types(atoms_to_state(Atoms("Si"))).tolist() == [1]


def test_a_dict_may_cover_a_subset_and_share_types() -> None:
    types = TypeMap.from_argument(["anion", "cation", "other"], {"O": "anion", "S": "anion", "Mg": "cation"})
    got = types(atoms_to_state([Atoms("MgO"), Atoms("SMg")]))
    assert got.dtype == torch.int64
    assert got.tolist() == [1, 0, 0, 1]


def test_a_label_takes_precedence_over_the_element_and_an_empty_one_does_not() -> None:
    types = TypeMap.from_argument(["O", "H", "H_donor"], {"O": "O", "H": "H"})
    water = labelled(molecule("H2O"), ["", "H_donor", ""])
    unknown_element = labelled(bulk("Au"), ["H_donor"])
    assert types(atoms_to_state([water, molecule("H2O"), unknown_element])).tolist() == [0, 2, 1, 0, 1, 1, 2]


@pytest.mark.parametrize("labels", [None, np.zeros(0, dtype="U1")])
def test_no_atoms_have_integer_types_too(labels: np.ndarray | None) -> None:
    state = atoms_to_state([Atoms()]).replace(type_label=labels)
    got = TypeMap(("Si",), {"Si": "Si"})(state)
    assert (got.dtype, got.shape) == (torch.int64, (0,))


@pytest.mark.parametrize("argument", [False, 1, 0, 2.5, "Si", ["Si"], ("Si", "Si"), np.True_])
def test_any_other_value_is_refused_with_the_model_s_types(argument: Any) -> None:
    with pytest.raises(ValueError, match=r"must be omitted, True, or a dict.*the model's types: Si, O_a"):
        TypeMap.from_argument(["Si", "O_a"], argument)


def test_true_is_refused_for_types_that_are_no_elements() -> None:
    with pytest.raises(ValueError, match=r"O_a, bulk_Si are not.*the model's types: H, O_a, bulk_Si"):
        TypeMap.from_argument(["H", "O_a", "bulk_Si"], True)


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ({"Sii": "Si"}, r"'Sii' to 'Si', but 'Sii' is no chemical symbol \(did you mean 'Si'\?\); .*types: Si, O_a"),
        ({14: "Si"}, "14 to 'Si'"),
        ({"Si": "Ge"}, "'Si' to 'Ge', which is no type of this model; its types: Si, O_a"),
        ({"Si": 0}, "'Si' to 0, which is no type"),
        ({"O": "O_a", "Si": ["Si"]}, r"'Si' to \['Si'\]"),
    ],
)
def test_a_wrong_entry_is_refused_naming_both_sides(mapping: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TypeMap.from_argument(["Si", "O_a"], mapping)
    with pytest.raises(ValueError, match=named):
        TypeMap.from_argument(["Si", "O_a"], None, stored=mapping)


KNOWS = r"knows the elements H, O and the types h, o\."


@pytest.mark.parametrize(
    ("atoms", "named"),
    [
        (Atoms("HOAu"), rf"Au \(system 1, atom 2\) is unknown to this model\. It {KNOWS}"),
        (labelled(molecule("H2O"), ["", "h", "hh"]), rf"type_label 'hh' \(system 1, atom 2\).*{KNOWS}"),
        (labelled(Atoms("AuH"), ["", "h"]), rf"Au \(system 1, atom 0\).*{KNOWS}"),
    ],
)
def test_an_unknown_atom_is_named_with_element_system_atom_and_what_is_known(atoms: Atoms, named: str) -> None:
    types = TypeMap.from_argument(["h", "o"], {"H": "h", "O": "o"})
    with pytest.raises(UnsupportedSpeciesError, match=named):
        types(atoms_to_state([molecule("H2"), atoms]))


@pytest.mark.parametrize("number", [-1, 0, 119, 300])
def test_numbers_that_are_no_element_are_refused(number: int) -> None:
    state = SimState.build(
        positions=torch.zeros(2, 3, dtype=torch.float64),
        atomic_numbers=torch.tensor([118, number]),
        n_atoms=[2],
        masses=torch.ones(2, dtype=torch.float64),
    )
    types = TypeMap.from_argument(["Og"], True)
    with pytest.raises(UnsupportedSpeciesError, match=r"\(system 0, atom 1\)"):
        types(state)
