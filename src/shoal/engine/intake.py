"""From whatever the caller has (structures, a state, files) to batches of consecutive structures.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import torch

from shoal.errors import InputError
from shoal.io import atoms_to_state, read, state_to_atoms
from shoal.io.checks import check_structure, structure_name
from shoal.state import SimState, select

if TYPE_CHECKING:
    from ase import Atoms

    Structures: TypeAlias = Atoms | SimState | str | Path | Iterable[Atoms | str | Path]


Item = TypeVar("Item")


class Batch(Protocol):
    """Consecutive structures that are computed together; `ids` (S,) are their system ids, in order."""

    @property
    def ids(self) -> Sequence[int]: ...

    def pack(self) -> SimState:
        """One state of all of them. Raises InputError; of a batch of one, naming the structure."""

    def part(self, rows: slice) -> Batch:
        """Some of them, as a batch of their own."""

    def name(self, row: int) -> str:
        """What to call one of them in a message."""

    def n_atoms(self, row: int) -> int:
        """Atoms of one of them."""

    def source(self, row: int) -> str:
        """File and frame it was read from; empty if it came from memory."""

    def atoms(self, row: int) -> Atoms:
        """A copy of it as an ASE structure, without results."""


@dataclass(frozen=True)
class FrameBatch:
    """Structures that came as ASE Atoms; `order`: their places in the input."""

    frames: Sequence[Atoms]
    ids: Sequence[int]
    order: Sequence[int]

    def pack(self) -> SimState:
        if len(self.frames) == 1:
            check_structure(self.frames[0], self.order[0])
        return atoms_to_state(self.frames, system_ids=self.ids)

    def part(self, rows: slice) -> FrameBatch:
        return FrameBatch(self.frames[rows], self.ids[rows], self.order[rows])

    def name(self, row: int) -> str:
        return structure_name(self.frames[row], self.order[row])

    def n_atoms(self, row: int) -> int:
        return len(self.frames[row])

    def source(self, row: int) -> str:
        return str(getattr(self.frames[row], "origin", ""))

    def atoms(self, row: int) -> Atoms:
        return self.frames[row].copy()


@dataclass(frozen=True)
class StateBatch:
    """Systems of a SimState."""

    state: SimState

    @property
    def ids(self) -> Sequence[int]:
        return self.state.system_id.tolist()

    def pack(self) -> SimState:
        return self.state

    def part(self, rows: slice) -> StateBatch:
        return StateBatch(select(self.state, rows))

    def name(self, row: int) -> str:
        return f"system {self.ids[row]}"

    def n_atoms(self, row: int) -> int:
        return int(self.state.n_atoms_per_system[row])

    def source(self, row: int) -> str:
        return ""

    def atoms(self, row: int) -> Atoms:
        return state_to_atoms(select(self.state, [row]))[0]


def batches(
    structures: Structures,
    max_atoms: int,
    system_ids: Sequence[int] | None = None,
    skip: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[Batch]:
    """Batches of up to `max_atoms` atoms, in input order; a larger structure goes alone.

    Structures are taken from the input as batches are asked for, never all at once. Their ids are `system_ids`,
    else a state's own, else their places in the input; those in `skip`, id to
    formula, are passed over. Raises InputError where a formula is another, for
    ids that are not unique or not as many as the structures, and for what is no structure or file.
    """
    if system_ids is not None and len(set(system_ids)) != len(system_ids):
        raise InputError("system_ids must be unique")
    if isinstance(structures, SimState):
        yield from _state_batches(_renumbered(structures, system_ids), max_atoms, skip)
    else:
        yield from _frame_batches(frames_of(structures), max_atoms, system_ids, skip)


def _renumbered(state: SimState, system_ids: Sequence[int] | None) -> SimState:
    if system_ids is None:
        return state
    if len(system_ids) != state.n_systems:
        raise InputError(f"{len(system_ids)} system_ids for {state.n_systems} systems")
    return state.replace(system_id=torch.as_tensor(system_ids, dtype=torch.int64, device=state.device))


def _state_batches(state: SimState, max_atoms: int, skip: Mapping[int, str]) -> Iterator[StateBatch]:
    ids, sizes = state.system_id.tolist(), state.n_atoms_per_system.tolist()
    wanted = []
    for s in range(state.n_systems):
        if ids[s] not in skip:
            wanted.append(s)
        else:
            _check_same(ids[s], state_to_atoms(select(state, [s]))[0], skip)
    for group in _grouped(wanted, sizes.__getitem__, max_atoms):
        yield StateBatch(select(state, group))


def _frame_batches(
    frames: Iterator[Atoms], max_atoms: int, system_ids: Sequence[int] | None, skip: Mapping[int, str]
) -> Iterator[FrameBatch]:
    wanted = (item for item in _identified(frames, system_ids) if not _is_done(item[1], item[2], skip))
    for group in _grouped(wanted, lambda item: len(item[2]), max_atoms):
        order, ids, members = zip(*group, strict=True)
        yield FrameBatch(members, ids, order)


def _is_done(system_id: int, atoms: Atoms, skip: Mapping[int, str]) -> bool:
    if system_id in skip:
        _check_same(system_id, atoms, skip)
    return system_id in skip


def _check_same(system_id: int, atoms: Atoms, skip: Mapping[int, str]) -> None:
    """Refuse to pass over a structure that is not the one of an earlier run."""
    formula = atoms.get_chemical_formula()
    if formula != skip[system_id]:
        raise InputError(
            f"the results to be resumed are of other structures: system {system_id} is {skip[system_id]} there and "
            f"{formula} in the input; resume with the same structures or write elsewhere"
        )


def _identified(frames: Iterator[Atoms], system_ids: Sequence[int] | None) -> Iterator[tuple[int, int, Atoms]]:
    """(place in the input, system id, structure)."""
    n_frames = 0
    for place, atoms in enumerate(frames):
        n_frames += 1
        if system_ids is not None and place >= len(system_ids):
            raise InputError(f"{len(system_ids)} system_ids for more structures than that")
        yield place, place if system_ids is None else system_ids[place], atoms
    if system_ids is not None and n_frames != len(system_ids):
        raise InputError(f"{len(system_ids)} system_ids for {n_frames} structures")


def _grouped(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Consecutive items whose sizes sum to at most `limit`; a larger item is a group of its own."""
    group: list[Item] = []
    total = 0
    for item in items:
        if group and total + size(item) > limit:
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def frames_of(structures: Atoms | str | Path | Iterable[Atoms | str | Path]) -> Iterator[Atoms]:
    """Structures one by one, those of files as they are read. Raises InputError for what is neither."""
    from ase import Atoms

    if isinstance(structures, Atoms | str | Path):
        structures = [structures]
    if isinstance(structures, Sequence) and structures and all(isinstance(item, str | Path) for item in structures):
        yield from read([item for item in structures if isinstance(item, str | Path)])
        return
    for place, item in enumerate(structures):
        if isinstance(item, Atoms):
            yield item
        elif isinstance(item, str | Path):
            yield from read(item)
        else:
            raise InputError(f"item {place} is no ase.Atoms and no file, but {type(item).__name__}")
