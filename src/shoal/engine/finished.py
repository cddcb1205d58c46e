"""Results of systems whose run is over, and where they go.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoal.engine.admission import Member, result_of
from shoal.engine.loop import Loop
from shoal.engine.outcome import SystemResult
from shoal.engine.sinks import ExtxyzFile, Memory, Sink
from shoal.errors import InputError
from shoal.io import state_to_atoms
from shoal.potentials import stress as stress_of
from shoal.state import SimState, select
from shoal.status import Status

if TYPE_CHECKING:
    from ase import Atoms


def open_run(out: str | Path | None, *, overwrite: bool = False) -> Sink:
    """Where the results of a run go: memory, or an extended xyz file. Raises InputError for any other name."""
    if out is None:
        return Memory()
    if Path(out).suffix not in (".xyz", ".extxyz"):
        raise InputError(f"{out}: last frames are written to an .xyz or .extxyz file")
    return ExtxyzFile(Path(out), overwrite=overwrite)


def finished(
    loop: Loop[Any],
    members: Sequence[Member],
    final: SimState,
    status: Status,
    rows: Sequence[int] | None = None,
) -> list[SystemResult]:
    """One result for each of some `rows` of a loop, by default all; what has not ended yet ends with `status`.

    `final` is the state of all rows to be given back.
    """
    virial = getattr(loop.frame, "virial", None) if loop.mover.moves_cell else None
    stress = None if virial is None else stress_of(-virial, loop.frame.cell).cpu().numpy()
    frame, offsets, steps = loop.frame, loop.state.offsets.tolist(), loop.steps.tolist()
    energy, forces = frame.energy.cpu().numpy(), frame.forces.cpu().numpy()
    results = []
    for row in range(loop.systems.n_systems) if rows is None else rows:
        ended, reason = loop.ended.get(row, (status, ""))
        values = {"energy": energy[row], "forces": forces[offsets[row] : offsets[row + 1]]}
        if stress is not None:
            values["stress"] = stress[row]
        kept = values if bool(torch.isfinite(frame.energy[row])) else {}
        results.append(
            result_of(
                members[row],
                ended,
                reason,
                kept,
                structure=partial(_structure, final, row),
                n_steps=steps[row],
            )
        )
    return results


def _structure(state: SimState, row: int) -> Atoms:
    return state_to_atoms(select(state, [row]))[0]
