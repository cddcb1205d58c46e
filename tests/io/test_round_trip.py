"""ASE structures come back from a state as they went in."""

from __future__ import annotations

from typing import Any

import ase.units
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixBondLength, FixedPlane
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shoal.errors import InputError
from shoal.io import atoms_to_state, state_to_atoms


def with_momenta(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms.set_momenta(np.random.default_rng(seed).normal(0, 5, (len(atoms), 3)))
    return atoms


def constrained_slab() -> Atoms:
    slab = fcc111("Cu", (2, 2, 3), vacuum=None)
    slab.set_constraint([FixAtoms([0, 1, 2]), FixedPlane(5, (0, 0, 1)), FixBondLength(7, 8)])
    slab.info = {"adsorbates": {"nested": [1, {"deep": (2.5, None)}]}, "name": "slab"}
    return slab


def far_outside() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.positions += [[-431.7, 23.4, 0.1]]
    atoms.set_cell([[5.4, 0, 0], [5.0, -3.1, 0], [1.0, 2.0, 4.0]])
    atoms.set_celldisp([0.1, 0.2, 0.3])
    return atoms


def rich() -> Atoms:
    atoms = with_momenta(molecule("CH3CH2OH"))
    n = len(atoms)
    atoms.set_tags(range(n))
    atoms.set_initial_charges(np.linspace(-1, 1, n))
    atoms.set_initial_magnetic_moments(np.ones((n, 3)))
    atoms.set_masses([1.5 * k + 1 for k in range(n)])
    for key, value in {
        "type_label": np.array(["", "O_hydroxyl"] + ["C"] * (n - 2)),
        "site": np.array([f"site {k}" for k in range(n)]),
        "mobile": np.arange(n) % 2 == 0,
        "int32": np.arange(n, dtype=np.int32),
        "uint64": np.arange(n, dtype=np.uint64),
        "big endian": np.arange(n, dtype=">f8"),
        "rank 3": np.arange(9.0 * n).reshape(n, 3, 3),
        "complex": 1j * np.arange(n),
    }.items():
        atoms.set_array(key, value)
    atoms.info = {
        "charge": -1,
        "spin": 2,
        "text": "a 'quoted' word",
        "nothing": None,
        "flag": True,
        "numpy flag": np.bool_(False),
        "float32": np.float32(0.1),
        "float64": np.float64(-1.25),
        "int": 7,
        "huge": 2**70,
        "zero-dimensional": np.array(4.0),
        "words": np.array(["x", "yy"]),
        "matrix": np.eye(3, dtype=np.float32),
        "objects": [np.arange(3), {"a": {1, 2}}],
        3: "a key that is no word",
    }
    return atoms


STRUCTURES = {
    "molecule": lambda: molecule("H2O"),
    "constrained slab": constrained_slab,
    "far outside its cell": far_outside,
    "rich": rich,
    "moving crystal": lambda: with_momenta(bulk("NaCl", "rocksalt", a=5.6), 3),
    "massless, at rest": lambda: Atoms("XH", positions=np.eye(3)[:2], masses=[0, 1], momenta=np.zeros((2, 3))),
    "one atom": lambda: Atoms("Ar"),
    "no atoms": lambda: Atoms(cell=[1, 2, 3], pbc=True),
}


def assert_equal_values(a: Any, b: Any, where: str) -> None:
    assert type(a) is type(b), f"{where}: {type(a)} is not {type(b)}"
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal_values(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, pair in enumerate(zip(a, b, strict=True)):
            assert_equal_values(*pair, f"{where}[{k}]")
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        assert a == b or (a != a and b != b), where


def assert_same_structure(a: Atoms, b: Atoms) -> None:
    assert_equal_values(a.info, b.info, "info")
    assert a.arrays.keys() == b.arrays.keys()
    for key in a.arrays.keys() - {"momenta", "type_label"}:
        assert_equal_values(a.arrays[key], b.arrays[key], f"arrays[{key!r}]")
    assert a.arrays.get("type_label", np.zeros(0)).tolist() == b.arrays.get("type_label", np.zeros(0)).tolist()
    np.testing.assert_array_equal(a.cell.array, b.cell.array)
    np.testing.assert_array_equal(a.pbc, b.pbc)
    np.testing.assert_array_equal(a.get_celldisp().ravel(), b.get_celldisp().ravel())
    assert_equal_values([c.todict() for c in a.constraints], [c.todict() for c in b.constraints], "constraints")
    if a.has("momenta"):
        np.testing.assert_array_max_ulp(a.get_momenta(), b.get_momenta(), maxulp=2)


@pytest.mark.parametrize("name", STRUCTURES)
def test_one_structure_comes_back(name: str) -> None:
    (back,) = state_to_atoms(atoms_to_state(STRUCTURES[name]()))
    assert_same_structure(STRUCTURES[name](), back)


def test_many_structures_come_back_from_one_state() -> None:
    frames = [make() for make in STRUCTURES.values()]
    for a, b in zip([make() for make in STRUCTURES.values()], state_to_atoms(atoms_to_state(frames)), strict=True):
        assert_same_structure(a, b)


NUMBERS = st.floats(-1e6, 1e6)
INFO_VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.none(),
    NUMBERS.map(np.float32),
    st.integers(0, 200).map(np.uint8),
    arrays(st.sampled_from([np.float64, np.int32, np.bool_]), array_shapes(max_dims=2, max_side=3)),
    st.lists(st.dictionaries(st.text(max_size=2), st.integers() | st.lists(st.floats(), max_size=2)), max_size=2),
)


@st.composite
def structures(draw: st.DrawFn) -> Atoms:
    n = draw(st.integers(0, 4))
    atoms = Atoms(
        numbers=draw(st.lists(st.integers(1, 118), min_size=n, max_size=n)),
        positions=draw(arrays(float, (n, 3), elements=NUMBERS)),
        cell=np.diag([3.0, 4.0, 5.0]) + 0.1 * draw(arrays(float, (3, 3), elements=st.floats(-1, 1))),
        pbc=draw(st.tuples(*[st.booleans()] * 3)),
    )
    atoms.info = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), INFO_VALUES))
    for key in draw(st.sets(st.sampled_from(["u", "v", "w"]))):
        dtype = draw(st.sampled_from([np.float64, np.float32, np.int64, np.uint16, np.bool_, np.dtype("U3")]))
        shape = (n, *draw(st.sampled_from([(), (2,), (3, 3)])))
        atoms.set_array(key, draw(arrays(dtype, shape)))
    if draw(st.booleans()):
        atoms.set_momenta(draw(arrays(float, (n, 3), elements=NUMBERS.filter(lambda p: p == 0 or abs(p) > 1e-6))))
    return atoms


@settings(max_examples=60, deadline=None)
@given(st.lists(structures(), max_size=4))
def test_any_structures_come_back(frames: list[Atoms]) -> None:
    kept = [atoms.copy() for atoms in frames]
    for a, b in zip(kept, state_to_atoms(atoms_to_state(frames)), strict=True):
        assert_same_structure(a, b)


def test_velocities_are_in_angstrom_per_femtosecond() -> None:
    atoms = rich()
    state = atoms_to_state([atoms, molecule("H2O")])
    expected = atoms.get_velocities() * ase.units.fs
    np.testing.assert_array_max_ulp(state.velocities[: len(atoms)].numpy(), expected, maxulp=2)
    assert not state.velocities[len(atoms) :].any()
    assert not state_to_atoms(state)[1].has("momenta")


def test_positions_are_kept_as_given_not_wrapped() -> None:
    atoms = far_outside()
    np.testing.assert_array_equal(atoms_to_state(atoms).positions.numpy(), atoms.positions)


def test_charge_spin_and_labels_are_read() -> None:
    state = atoms_to_state([rich(), molecule("H2O")])
    assert state.charge[0] == -1
    assert state.spin[0] == 2
    assert state.charge[1].isnan()
    assert state.type_label[:2].tolist() == ["", "O_hydroxyl"]
    assert set(state.type_label[-3:]) == {""}
    assert atoms_to_state(molecule("H2O")).charge is None


def test_a_new_charge_goes_out_and_a_given_one_keeps_its_type() -> None:
    state = atoms_to_state([rich(), molecule("H2O")])
    back = state_to_atoms(state.replace(charge=torch.tensor([-1.0, 3.0], dtype=torch.float64)))
    assert type(back[0].info["charge"]) is int
    assert back[1].info["charge"] == 3.0


def test_common_numbers_become_extras_and_new_ones_go_out() -> None:
    frames = [molecule("H2O"), molecule("CO")]
    for k, atoms in enumerate(frames):
        atoms.info["weight"] = 0.5 * k
        atoms.set_array("bias", np.full((len(atoms), 2), k, dtype=np.float32))
    state = atoms_to_state(frames)
    assert state.system_extras["weight"].tolist() == [0.0, 0.5]
    assert state.atom_extras["bias"].dtype == torch.float32
    assert state.atom_extras["bias"].shape == (5, 2)
    changed = state.replace(
        system_extras={"weight": state.system_extras["weight"] + 1, "new": torch.tensor([[1, 2], [3, 4]])},
        atom_extras={"bias": state.atom_extras["bias"] + 1},
    )
    back = state_to_atoms(changed)
    assert [atoms.info["weight"] for atoms in back] == [1.0, 1.5]
    assert back[1].info["new"].tolist() == [3, 4]
    assert (back[1].arrays["bias"] == 2).all()


def test_float32_rounds_numbers_and_keeps_the_rest() -> None:
    frames = [rich(), constrained_slab()]
    back = state_to_atoms(atoms_to_state(frames, dtype=torch.float32))
    for a, b in zip(frames, back, strict=True):
        np.testing.assert_array_equal(a.positions.astype(np.float32), b.positions.astype(np.float32))
        np.testing.assert_array_equal(a.cell.array.astype(np.float32), b.cell.array.astype(np.float32))
        assert_equal_values(a.info, b.info, "info")
        assert a.arrays.keys() == b.arrays.keys()
        assert_equal_values(a.get_tags(), b.get_tags(), "tags")


def test_input_state_and_output_share_no_memory() -> None:
    atoms, expected = constrained_slab(), constrained_slab()
    atoms.info["list"], expected.info["list"] = [1], [1]
    state = atoms_to_state(atoms)
    for changed in (atoms, state_to_atoms(state)[0]):
        changed.positions += 1
        changed.cell[:] = 0
        changed.set_tags(9)
        changed.info["list"].append(2)
        changed.info["adsorbates"]["nested"].clear()
        changed.constraints[0].index[:] = 5
        assert_same_structure(state_to_atoms(state)[0], expected)


def test_ids_device_and_generators() -> None:
    state = atoms_to_state((molecule(name) for name in ("H2", "O2")), system_ids=[12, 5], device="cpu")
    assert state.system_id.tolist() == [12, 5]
    assert (atoms_to_state([]).n_systems, state_to_atoms(atoms_to_state([]))) == (0, [])


def broken(kind: str) -> Atoms:
    atoms = bulk("Si", cubic=True)
    if kind == "position":
        atoms.positions[3, 2] = np.nan
    elif kind == "cell":
        atoms.cell[1] = np.inf
    elif kind == "dependent":
        atoms.set_cell([[1, 0, 0], [0, 1, 0], [1, 1, 1e-9]])
    elif kind == "zero":
        atoms.set_cell([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    elif kind == "charge":
        atoms.info["charge"] = "plus"
    elif kind == "spin":
        atoms.info["spin"] = np.array([1, 2])
    return atoms


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("position", "structure 1: position of atom 3 is not finite"),
        ("cell", "structure 1: cell of lattice vector 1 is not finite"),
        ("dependent", "structure 1: the lattice vectors .* linearly dependent"),
        ("zero", "structure 1: the lattice vectors .* zero"),
        ("charge", r"structure 1: info\['charge'\] must be a number, got 'plus'"),
        ("spin", r"structure 1: info\['spin'\] must be a number"),
    ],
)
def test_a_broken_structure_is_refused_with_its_place(kind: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        atoms_to_state([molecule("H2O"), broken(kind)])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([molecule("H2"), "POSCAR"],), "structure 1 must be an ase.Atoms, got str"),
        (([molecule("H2")], None, torch.float64, [1, 2]), "2 system_ids for 1 structures"),
        (([molecule("H2")] * 2, None, torch.float64, [3, 3]), r"\[3\] occur more than once"),
        (([molecule("H2")], None, torch.int64), "int64"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple, named: str) -> None:
    with pytest.raises(InputError, match=named):
        atoms_to_state(*arguments)


def test_results_become_a_calculator_of_each_structure() -> None:
    frames = [bulk("Si", cubic=True), molecule("H2O")]
    state = atoms_to_state(frames)
    stress = torch.tensor([[[1.0, 6, 5], [6, 2, 4], [5, 4, 3]], [[float("nan")] * 3] * 3])
    results = {
        "energy": torch.tensor([-3.0, -7.5], dtype=torch.float64),
        "forces": torch.arange(33.0).reshape(11, 3),
        "stress": stress,
        "atomic_energy": torch.arange(11.0),
    }
    crystal, water = state_to_atoms(state, results)
    assert crystal.get_potential_energy() == -3.0
    assert water.get_potential_energy(force_consistent=True) == -7.5
    assert crystal.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    assert "stress" not in water.calc.results
    np.testing.assert_array_equal(water.get_forces(), np.arange(24.0, 33.0).reshape(3, 3))
    np.testing.assert_array_equal(water.get_potential_energies(), [8, 9, 10])
