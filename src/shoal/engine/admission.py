"""From a batch of structures to a state that can be moved; what cannot be used is set apart, alone.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from shoal.constraints import Constraint, constrained
from shoal.dynamics import Ramp
from shoal.engine.calculator import BatchCalculator
from shoal.engine.intake import Batch
from shoal.engine.outcome import SystemResult
from shoal.errors import InputError, UnsupportedSpeciesError, UnsupportedSystemError
from shoal.motion import Systems
from shoal.parameters import check_positive, check_whole
from shoal.state import SimState, check_geometry, concatenate
from shoal.status import Status

if TYPE_CHECKING:
    from ase import Atoms

Errors = Literal["raise", "status"]


@dataclass(frozen=True)
class Member:
    """One structure of a batch."""

    batch: Batch
    row: int

    @property
    def system_id(self) -> int:
        return int(self.batch.ids[self.row])


@dataclass(frozen=True)
class Admitted:
    """What of a batch can be moved: a state and its `Systems`, each row's `Member`, and results for the others."""

    state: SimState | None
    systems: Systems | None
    members: Sequence[Member]
    refused: Sequence[SystemResult]


def admit(
    batch: Batch,
    calculator: BatchCalculator,
    first_place: int,
    *,
    errors: Errors,
    constraints: Sequence[Constraint] | None = None,
    allow_float32: bool = False,
    accept: Callable[[SimState, Systems], object],
) -> Admitted:
    """Pack a batch for `calculator`, on its device.

    `first_place`: the place of the batch's first structure in the input. `accept` raises UnsupportedSystemError for
    systems that the method cannot move. Raises InputError, UnsupportedSpeciesError or UnsupportedSystemError for a
    structure that cannot be used, unless errors="status" makes a result of it.
    """
    parts: list[tuple[SimState, Systems, Sequence[Member]]] = []
    refused: list[SystemResult] = []

    def pack(rows: slice) -> None:
        part = batch.part(rows)
        try:
            state = _prepared(part, calculator, allow_float32)
            places = torch.arange(first_place + rows.start, first_place + rows.stop, device=state.device)
            systems = systems_of(state, places, constraints)
        except InputError as error:
            part_with(rows, part, error)
            return
        try:
            accept(state, systems)
        except UnsupportedSystemError as error:  # any other is about the arguments
            part_with(rows, part, error)
            return
        parts.append((state, systems, [Member(batch, row) for row in range(rows.start, rows.stop)]))

    def part_with(rows: slice, part: Batch, error: InputError) -> None:
        n = rows.stop - rows.start
        if n > 1:
            middle = rows.start + n // 2
            pack(slice(rows.start, middle))
            pack(slice(middle, rows.stop))
            return
        name, message = part.name(0), str(error)
        message = message if name in message else f"{name}: {message}"
        if errors == "raise":
            raise type(error)(message) from error
        refused.append(_refused(Member(batch, rows.start), error, message))

    pack(slice(0, len(batch.ids)))
    if not parts:
        return Admitted(None, None, (), refused)
    states, systems, members = zip(*parts, strict=True)
    return Admitted(
        concatenate(states) if len(states) > 1 else states[0],
        Systems.join(systems),
        [member for group in members for member in group],
        refused,
    )


def n_systems_of(
    structures: object, n_structures: int | None = None, system_ids: Sequence[int] | None = None
) -> int | None:
    """How many systems an input holds, where that can be said without reading files or using up an iterator.

    `n_structures`: as the caller counted them. Raises InputError if `system_ids` are not as many.
    """
    if isinstance(structures, SimState) or (
        isinstance(structures, list | tuple) and not any(isinstance(item, str | Path) for item in structures)
    ):
        n_structures = len(structures)
    if n_structures is not None and system_ids is not None and len(system_ids) != n_structures:
        raise InputError(f"{len(system_ids)} system_ids for {n_structures} structures")
    return n_structures


def check_counts(steps: str, n_steps: int, every: int, max_atoms: int, skin: float) -> None:
    """Refuse counts and a skin that no run can have; `steps`: what the verb calls its steps. Raises InputError."""
    check_whole(0, **{steps: n_steps})
    check_whole(1, every=every, max_atoms=max_atoms)
    check_positive({"skin": skin})


def n_rounds(structures: object, max_atoms: int) -> int:
    """How many batches of so many atoms an input fills, where that can be said at once; else 1."""
    if isinstance(structures, SimState):
        n_atoms = structures.n_atoms
    elif n_systems_of(structures) is None:
        return 1
    else:
        items: Any = structures
        n_atoms = sum(len(item) for item in items if isinstance(item, Sized))
    return max(1, ceil(n_atoms / max_atoms))


def check_lengths(n_systems: int | None, **values: object) -> None:
    """Refuse per-system arguments of another length than the input, where that is known. Raises InputError."""
    for name, value in values.items():
        if isinstance(value, Ramp):
            check_lengths(n_systems, **{f"{name}.start": value.start, f"{name}.end": value.end})
        elif n_systems is not None and not isinstance(value, str) and np.ndim(value) == 1:  # type: ignore[arg-type]
            length = len(value)  # type: ignore[arg-type]
            if length != n_systems:
                raise InputError(
                    f"{name} has {length} values for {n_systems} systems; give one number, or one for each"
                )


def systems_of(
    state: SimState, places: torch.Tensor | None = None, constraints: Sequence[Constraint] | None = None
) -> Systems:
    """The `Systems` of a state, with the constraints its structures carry and those given besides."""
    fixed, fixed_com = constrained(state, constraints)
    counts = state.n_atoms_per_system.to(state.device)
    starts = state.offsets[:-1].to(state.device)
    return Systems(
        system_index=state.system_index,
        atom_number=torch.arange(state.n_atoms, device=state.device) - starts[state.system_index],
        masses=state.masses.to(torch.float64),
        fixed=fixed,
        pbc=state.pbc,
        n_atoms=counts,
        fixed_com=fixed_com,
        system_id=state.system_id,
        place=torch.arange(state.n_systems, device=state.device) if places is None else places,
    )


def _prepared(part: Batch, calculator: BatchCalculator, allow_float32: bool) -> SimState:
    state = part.pack()
    if state.dtype == torch.float32 and not allow_float32:
        raise InputError(
            "a float32 state loses what a run of many steps needs; make it float64 (state.to(dtype=torch.float64)), "
            "or allow_float32=True, which computes in float64 from the rounded numbers"
        )
    state = state.to(calculator.device, torch.float64)
    check_geometry(state)
    calculator.type_map(state)
    return state


def _refused(member: Member, error: InputError, message: str) -> SystemResult:
    unsupported = isinstance(error, UnsupportedSpeciesError | UnsupportedSystemError)
    status = Status.UNSUPPORTED if unsupported else Status.INVALID_INPUT
    return result_of(member, status, message, {})


def result_of(
    member: Member,
    status: Status,
    reason: str,
    values: Mapping[str, np.ndarray],
    *,
    structure: Callable[[], Atoms] | None = None,
    n_steps: int | None = None,
) -> SystemResult:
    """The result of one structure; `structure` gives its last frame, by default it is as it came."""
    batch, row = member.batch, member.row
    return SystemResult(
        system_id=member.system_id,
        source=batch.source(row),
        n_atoms=batch.n_atoms(row),
        status=status,
        reason=reason,
        values=values,
        structure=structure or (lambda: batch.atoms(row)),
        n_steps=n_steps,
    )
