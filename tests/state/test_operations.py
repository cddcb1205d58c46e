"""Joining, selecting and taking apart lose nothing, whatever a state carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from shoal.errors import InputError
from shoal.io import atoms_to_state, state_to_atoms
from shoal.state import SimState, concatenate, select, split

DTYPES = (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)


def random_state(counts: Sequence[int], seed: int, ids: Sequence[int] | None = None) -> SimState:
    """Everything a state can carry, with extras of every dtype."""
    generator = np.random.default_rng(seed)
    n, s = sum(counts), len(counts)

    def tensor(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.as_tensor(generator.normal(0, 50, shape)).to(dtype)

    return SimState.build(
        positions=tensor(n, 3),
        atomic_numbers=torch.as_tensor(generator.integers(1, 90, n)),
        n_atoms=counts,
        cell=tensor(s, 3, 3),
        pbc=torch.as_tensor(generator.random((s, 3)) < 0.5),
        masses=tensor(n).abs(),
        system_id=ids,
        velocities=tensor(n, 3),
        charge=tensor(s),
        spin=tensor(s),
        type_label=np.array([f"{k:x}" for k in generator.integers(0, 999, n)], dtype="U8"),
        atom_extras={str(dtype): tensor(n, 2, dtype=dtype) for dtype in DTYPES}
        | {"rank 3": tensor(n, 3, 3), "words": np.array([f"w{k}" for k in range(n)], dtype="U8")},
        system_extras={str(dtype): tensor(s, dtype=dtype) for dtype in DTYPES}
        | {"words": np.array([f"w{k}" for k in range(s)], dtype="U8")},
    )


def assert_same(a: SimState, b: SimState) -> None:
    for f in fields(SimState):
        _assert_equal(getattr(a, f.name), getattr(b, f.name), f.name)


def _assert_equal(a: Any, b: Any, name: str) -> None:
    assert type(a) is type(b), name
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, name
        assert torch.equal(a.nan_to_num(nan=-7), b.nan_to_num(nan=-7)), name
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            _assert_equal(a[key], b[key], f"{name}[{key!r}]")
    elif isinstance(a, tuple):
        assert len(a) == len(b), name
    else:
        assert a == b, name


COUNTS = (3, 1, 0, 4, 2)


def test_split_then_concatenate_is_the_identity() -> None:
    state = random_state(COUNTS, 0, ids=[9, 2, 30, 4, 5])
    parts = split(state)
    assert [part.n_atoms for part in parts] == list(COUNTS)
    assert [int(part.system_id[0]) for part in parts] == [9, 2, 30, 4, 5]
    assert_same(concatenate(parts), state)


def test_concatenate_then_select_gives_back_each_state() -> None:
    states = [random_state((2, 3), 1, ids=[0, 1]), random_state((0, 4, 1), 2, ids=[2, 3, 4])]
    joined = concatenate(states)
    assert joined.offsets.tolist() == [0, 2, 5, 5, 9, 10]
    assert_same(select(joined, [0, 1]), states[0])
    assert_same(select(joined, slice(2, None)), states[1])


@pytest.mark.parametrize(
    ("systems", "expected"),
    [
        ([3, 0], [3, 0]),
        ([-1, 1], [4, 1]),
        (torch.tensor([2, 4]), [2, 4]),
        (np.array([4, 2]), [4, 2]),
        (range(1, 4), [1, 2, 3]),
        (torch.tensor([True, False, False, True, True]), [0, 3, 4]),
        ([True, False, False, True, True], [0, 3, 4]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [4, 2, 0]),
        ([], []),
    ],
)
def test_select_takes_whole_systems_in_the_order_given(systems: Any, expected: list[int]) -> None:
    state = random_state(COUNTS, 3, ids=[10, 11, 12, 13, 14])
    chosen = select(state, systems)
    starts = np.concatenate([[0], np.cumsum(COUNTS)])
    atoms = [a for s in expected for a in range(starts[s], starts[s + 1])]
    assert chosen.system_id.tolist() == [10 + s for s in expected]
    assert torch.equal(chosen.positions, state.positions[atoms])
    assert torch.equal(chosen.cell, state.cell[expected])
    assert torch.equal(chosen.pbc, state.pbc[expected])
    assert chosen.type_label.tolist() == state.type_label[atoms].tolist()
    assert chosen.atom_extras["words"].tolist() == state.atom_extras["words"][atoms].tolist()
    assert chosen.n_atoms_per_system.tolist() == [COUNTS[s] for s in expected]
    assert chosen.system_index.tolist() == [k for k, s in enumerate(expected) for _ in range(COUNTS[s])]


@pytest.mark.parametrize(
    ("systems", "named"),
    [
        ([5], "system 5 does not exist"),
        ([0, -6], "system -6 does not exist"),
        (torch.tensor([True, False]), r"shape \(5,\)"),
        ([1, 2, 1], "selected twice"),
        ([0, -5], "selected twice"),
    ],
)
def test_select_refuses_what_is_not_there_and_what_would_share_an_id(systems: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        select(random_state(COUNTS, 3), systems)


def test_each_system_keeps_its_own_periodicity_and_cell() -> None:
    frames = [bulk("Cu"), molecule("H2O"), bulk("Si", cubic=True)]
    frames[2].pbc = (True, False, True)
    states = [atoms_to_state(atoms, system_ids=[k]) for k, atoms in enumerate(frames)]
    for order in ([0, 1, 2], [1, 2, 0]):
        joined = concatenate([states[k] for k in order])
        for s, k in enumerate(order):
            np.testing.assert_array_equal(joined.pbc[s].numpy(), frames[k].pbc)
            np.testing.assert_array_equal(joined.cell[s].numpy(), frames[k].cell.array)


def test_equal_ids_are_refused_unless_renumbered() -> None:
    a, b = random_state((1, 2), 4, ids=[7, 8]), random_state((3,), 5, ids=[8])
    with pytest.raises(InputError, match=r"\[8\] occur more than once"):
        concatenate([a, b])
    joined = concatenate([a, b], renumber=True)
    assert joined.system_id.tolist() == [0, 1, 2]
    assert torch.equal(joined.positions, torch.cat([a.positions, b.positions]))


@pytest.mark.parametrize("other", [{"dtype": torch.float32}, {"device": "meta"}])
def test_states_of_another_dtype_or_device_are_refused_with_their_place(other: dict[str, Any]) -> None:
    a, b = random_state((1,), 6, ids=[0]), random_state((1,), 7, ids=[1])
    with pytest.raises(InputError, match="state 1 is .* state 0 is"):
        concatenate([a, b.to(**other)])


def test_no_states_are_refused_and_empty_ones_are_not() -> None:
    with pytest.raises(InputError, match="at least one"):
        concatenate([])
    state = random_state(COUNTS, 8)
    assert_same(concatenate([select(state, []), state]), state)
    assert select(state, []).n_atoms == 0
    assert split(select(state, [])) == []


def test_what_only_some_states_have_is_filled_with_not_given() -> None:
    rich, poor = random_state((2,), 9, ids=[0]), random_state((1, 1), 10, ids=[1, 2])
    poor = poor.replace(velocities=None, charge=None, spin=None, type_label=None)
    joined = concatenate([poor, rich])
    assert torch.equal(joined.velocities[2:], rich.velocities)
    assert not joined.velocities[:2].any()
    assert torch.equal(joined.charge[2:], rich.charge)
    assert joined.charge[:2].isnan().all()
    assert joined.spin[:2].isnan().all()
    assert joined.type_label.tolist() == ["", "", *rich.type_label.tolist()]
    assert concatenate([poor]).velocities is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"info": {"tag": 1.5}}, {}),
        ({"info": {"tag": 1.5}}, {"info": {"tag": 2}}),
        ({"info": {"tag": np.arange(3)}}, {"info": {"tag": np.arange(4)}}),
        ({"info": {"tag": np.float32(0.1)}}, {"info": {"tag": 0.1}}),
        ({"arrays": {"tag": np.arange(2.0)}}, {}),
        ({"arrays": {"tag": np.arange(2.0)}}, {"arrays": {"tag": np.arange(2)}}),
        ({"arrays": {"tag": np.ones((2, 3))}}, {"arrays": {"tag": np.ones((2, 4))}}),
    ],
)
def test_extras_that_differ_between_states_still_come_back(first: dict, second: dict) -> None:
    frames = [molecule("H2") for _ in range(2)]
    for atoms, carried in zip(frames, (first, second), strict=True):
        atoms.info.update(carried.get("info", {}))
        for key, value in carried.get("arrays", {}).items():
            atoms.set_array(key, value)
    joined = concatenate([atoms_to_state(atoms, system_ids=[k]) for k, atoms in enumerate(frames)])
    assert "tag" not in joined.system_extras
    assert "tag" not in joined.atom_extras
    for back, atoms in zip(state_to_atoms(joined), frames, strict=True):
        assert back.info.keys() == atoms.info.keys()
        assert back.arrays.keys() == atoms.arrays.keys()
        for key, value in atoms.info.items():
            assert type(back.info[key]) is type(value)
            np.testing.assert_array_equal(back.info[key], value)
        for key, value in atoms.arrays.items():
            assert back.arrays[key].dtype == value.dtype
            np.testing.assert_array_equal(back.arrays[key], value)
