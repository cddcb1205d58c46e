"""A packed state knows its sizes, fills in what is left out, and refuses what does not fit together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
import torch
from ase.data import atomic_masses

from shoal.errors import InputError
from shoal.state import SimState, Source, check_geometry


def minimal(**changes: Any) -> SimState:
    """A dimer, an empty system and a trimer."""
    arguments: dict[str, Any] = {
        "positions": torch.arange(15, dtype=torch.float64).reshape(5, 3),
        "atomic_numbers": torch.tensor([1, 1, 8, 14, 79]),
        "n_atoms": [2, 0, 3],
    }
    return SimState.build(**(arguments | changes))


def test_what_is_left_out_is_filled_in() -> None:
    state = minimal()
    assert (state.n_systems, state.n_atoms, len(state)) == (3, 5, 3)
    assert state.offsets.tolist() == [0, 2, 2, 5]
    assert state.n_atoms_per_system.tolist() == [2, 0, 3]
    assert state.system_index.tolist() == [0, 0, 2, 2, 2]
    assert state.system_id.tolist() == [0, 1, 2]
    assert not state.cell.any()
    assert not state.pbc.any()
    np.testing.assert_array_equal(state.masses.numpy(), atomic_masses[[1, 1, 8, 14, 79]])


def test_sizes_are_python_integers_and_stay_on_the_host() -> None:
    state = minimal().to("meta")
    assert type(state.n_systems) is int
    assert type(state.n_atoms) is int
    assert state.offsets.device.type == "cpu"


def test_a_state_cannot_be_changed_in_place_but_replaced() -> None:
    state = minimal()
    with pytest.raises(FrozenInstanceError):
        state.positions = torch.zeros(5, 3, dtype=torch.float64)  # type: ignore[misc]
    moved = state.replace(positions=state.positions + 1)
    assert torch.equal(moved.positions, state.positions + 1)
    assert moved.atomic_numbers is state.atomic_numbers


def test_every_field_declares_its_scope() -> None:
    scopes = {f.name: f.metadata["scope"] for f in fields(SimState)}
    assert set(scopes.values()) == {"atom", "system", "host", "atom_extras", "system_extras", "sources"}
    state = minimal(velocities=torch.zeros(5, 3, dtype=torch.float64), charge=torch.zeros(3), spin=torch.ones(3))
    for name, scope in scopes.items():
        value = getattr(state, name)
        if value is not None and scope in ("atom", "system"):
            assert value.shape[0] == {"atom": 5, "system": 3}[scope], name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("positions", torch.zeros(4, 3)),
        ("positions", torch.zeros(5)),
        ("cell", torch.zeros(3, 3)),
        ("pbc", torch.zeros(3, dtype=torch.bool)),
        ("masses", torch.ones(3)),
        ("velocities", torch.zeros(5)),
        ("charge", torch.zeros(5)),
        ("spin", torch.zeros(3, 1)),
        ("type_label", np.array(["a", "b"])),
        ("atom_extras", {"q": torch.zeros(3)}),
        ("atom_extras", {"q": torch.tensor(1.0)}),
        ("system_extras", {"q": np.zeros(5)}),
        ("sources", (Source(),)),
        ("system_id", [0, 1]),
    ],
)
def test_a_wrong_shape_is_refused_by_name(field: str, value: Any) -> None:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        value = value.to(torch.float64)
    with pytest.raises(InputError, match=field):
        minimal(**{field: value})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"positions": torch.zeros(5, 3, dtype=torch.int64)}, "int64"),
        ({"positions": torch.zeros(5, 3, dtype=torch.float16)}, "float16"),
        ({"cell": torch.zeros(3, 3, 3, dtype=torch.float32)}, "cell"),
        ({"masses": torch.ones(5, dtype=torch.float32)}, "masses"),
        ({"velocities": torch.ones(5, 3, dtype=torch.float32)}, "velocities"),
        ({"pbc": torch.ones(3, 3)}, "pbc"),
        ({"atomic_numbers": torch.ones(5, dtype=torch.int32)}, "atomic_numbers"),
        ({"charge": torch.zeros(3, device="meta")}, "charge is on meta"),
        ({"atomic_numbers": torch.tensor([1, 1, -3, 8, 8])}, "atom 2 has the atomic number -3"),
        ({"atomic_numbers": torch.tensor([1, 1, 1, 8, 300])}, "atom 4 has the atomic number 300"),
        ({"system_id": [4, 7, 4]}, r"\[4\] occur more than once"),
    ],
)
def test_a_wrong_dtype_device_or_id_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        minimal(**changes)


def full_state() -> SimState:
    return minimal(
        velocities=torch.ones(5, 3, dtype=torch.float64),
        charge=torch.tensor([0.0, 1.0, float("nan")], dtype=torch.float64),
        spin=torch.ones(3, dtype=torch.float64),
        type_label=np.array(["", "a", "b", "", "c"]),
        atom_extras={"flag": torch.ones(5, dtype=torch.bool), "half": torch.ones(5, 2, dtype=torch.float16)},
        system_extras={"f64": torch.ones(3, dtype=torch.float64), "words": np.array(["x", "y", "z"])},
    )


def test_to_changes_float_dtype_of_the_state_but_not_of_extras() -> None:
    state = full_state()
    single = state.to(dtype=torch.float32)
    for name in ("positions", "cell", "masses", "velocities", "charge", "spin"):
        assert getattr(single, name).dtype == torch.float32, name
    assert single.atomic_numbers.dtype == torch.int64
    assert single.pbc.dtype == torch.bool
    assert single.atom_extras["half"].dtype == torch.float16
    assert single.system_extras["f64"].dtype == torch.float64
    assert state.dtype == torch.float64
    with pytest.raises(InputError, match="float16"):
        state.to(dtype=torch.float16)


def test_to_moves_every_tensor_and_keeps_what_is_none() -> None:
    moved = full_state().to("meta")
    for f in fields(SimState):
        value = getattr(moved, f.name)
        if isinstance(value, torch.Tensor) and f.name != "offsets":
            assert value.device.type == "meta", f.name
    assert moved.atom_extras["flag"].device.type == "meta"
    assert moved.system_extras["words"].tolist() == ["x", "y", "z"]
    assert moved.type_label.tolist() == ["", "a", "b", "", "c"]


@pytest.mark.parametrize(
    ("pbc", "cell", "named"),
    [
        ((1, 1, 1), [[1, 0, 0], [0, 1, 0], [1, 1, 0]], "dependent"),
        ((1, 1, 1), [[1, 0, 0], [0, 1, 0], [0, 0, 0]], "zero or"),
        ((1, 1, 0), [[1, 0, 0], [2, 1e-7, 0], [0, 0, 5]], "dependent"),
        ((0, 1, 0), [[1, 0, 0], [0, 0, 0], [0, 0, 5]], "zero"),
        ((0, 0, 0), [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 5]], "cell is not finite"),
    ],
)
def test_broken_geometry_is_refused_with_the_system_id(pbc: tuple, cell: list, named: str) -> None:
    cells = torch.zeros(3, 3, 3, dtype=torch.float64)
    cells[2] = torch.tensor(cell)
    flags = torch.zeros(3, 3, dtype=torch.bool)
    flags[2] = torch.tensor(pbc).bool()
    with pytest.raises(InputError, match=f"system 42.*{named}"):
        check_geometry(minimal(cell=cells, pbc=flags, system_id=[40, 41, 42]))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("pbc", [(1, 1, 0), (0, 0, 1), (0, 0, 0)])
def test_axes_that_are_not_periodic_may_have_any_vector(pbc: tuple, scale: float) -> None:
    cell = scale * torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0, 0, 1]], dtype=torch.float64)
    cell[[k for k in range(3) if not pbc[k]]] = 0
    check_geometry(minimal(cell=cell.expand(3, 3, 3), pbc=torch.tensor(pbc).bool().expand(3, 3)))


def test_a_position_that_is_not_finite_is_refused_with_system_and_atom() -> None:
    state = minimal()
    state.positions[3, 1] = float("inf")
    with pytest.raises(InputError, match=r"system 2: the position of atom 1 "):
        check_geometry(state)
