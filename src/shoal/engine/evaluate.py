"""The verb `evaluate`: structures in, energies, forces and stresses out, in batches.

N atoms, S systems.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from shoal.contract import DEFAULT_OUTPUTS, QUANTITIES, check_outputs
from shoal.engine.calculator import BatchCalculator
from shoal.engine.intake import Batch, batches
from shoal.engine.outcome import Counts, EvaluationResults, SystemResult
from shoal.engine.progress import progress_bar
from shoal.engine.results import open_results
from shoal.engine.sinks import Memory
from shoal.errors import InputError, UnsupportedSpeciesError
from shoal.potentials import Potential
from shoal.state import SimState
from shoal.status import Status

if TYPE_CHECKING:
    from shoal.engine.intake import Structures

Errors = Literal["raise", "status"]


def evaluate(
    structures: Structures,
    potential: BatchCalculator | Potential | str | Path,
    *,
    outputs: Iterable[str] = DEFAULT_OUTPUTS,
    max_atoms: int = 1024,
    errors: Errors = "raise",
    system_ids: Sequence[int] | None = None,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
    n_structures: int | None = None,
    on_batch: Callable[[Sequence[SystemResult]], None] | None = None,
) -> EvaluationResults:
    """Evaluate structures with a potential, in batches of up to `max_atoms` atoms, results in input order.

    `structures`: one or an iterable of ASE Atoms, a SimState, or files of any format ASE reads (patterns allowed).
    `potential`: a model file, a Potential or a BatchCalculator; `device` and `chemical_species_to_atom_type_map` as
    for BatchCalculator. `outputs`: names of `shoal.contract.QUANTITIES`.
    `errors`: "raise" stops at the first structure that cannot be evaluated; "status" gives it a status and a reason
    and finishes the others. `system_ids`: S unique integers, by default the place in the input.
    `out`: write results as they come, instead of keeping them: `*.xyz` or `*.extxyz` is an extended xyz file, any
    other name a results folder (`shoal.engine.read_results`). `overwrite` replaces earlier results; `resume` takes a
    folder up where it stopped, given the same structures and ids.
    `progress` shows a progress bar, with the time left if the input can be counted or `n_structures` says how many
    come. `on_batch` is called with each finished batch, after it is written.

    Raises InputError for unusable structures, ids or `out`, UnsupportedSpeciesError, UnsupportedRequestError and
    ModelFileError.
    """
    if errors not in ("raise", "status"):
        raise InputError(f'errors must be "raise" or "status", got {errors!r}')
    if max_atoms < 1:
        raise InputError(f"max_atoms must be at least 1, got {max_atoms}")
    calculator = BatchCalculator.of(
        potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
    )
    names = check_outputs(outputs, calculator.capabilities.outputs, "this potential")
    sink = Memory() if out is None else open_results(out, names, model=potential, overwrite=overwrite, resume=resume)
    counts, start = Counts(), time.perf_counter()
    if n_structures is None and isinstance(structures, list | tuple | SimState):
        n_structures = len(structures)
    with sink:
        left = None if n_structures is None else max(0, n_structures - len(sink.done))
        with progress_bar(left) if progress else nullcontext() as bar:
            for batch in batches(structures, max_atoms, system_ids, skip=sink.done):
                results = _evaluate(batch, calculator, names, errors)
                sink.write(results)
                counts.add(results)
                for report in (bar, on_batch):
                    if report is not None:
                        report(results)
        if n_structures is not None and len(sink.done) > n_structures:
            raise InputError(
                f"{out} holds results of {len(sink.done)} structures, the input has {n_structures}: resume with the "
                "same structures or write elsewhere"
            )
    counts.seconds = time.perf_counter() - start
    return EvaluationResults(names, sink.kept, counts, sink.path)


def _evaluate(batch: Batch, calculator: BatchCalculator, names: Sequence[str], errors: Errors) -> list[SystemResult]:
    """All systems of a batch; what fails is halved until the structure at fault is alone."""
    try:
        state = batch.pack()
        values = _on_host(calculator, state, names)
    except (InputError, torch.OutOfMemoryError) as error:
        if len(batch.ids) > 1:
            middle = len(batch.ids) // 2
            halves = batch.part(slice(0, middle)), batch.part(slice(middle, None))
            return [result for half in halves for result in _evaluate(half, calculator, names, errors)]
        if errors == "raise":
            raise type(error)(_named(batch, error)) from error
        return [_result(batch, 0, _status_of(error), _named(batch, error), {})]
    offsets = state.offsets.tolist()
    results = []
    for s in range(state.n_systems):
        own = {
            name: value[s] if QUANTITIES[name].scope == "system" else value[offsets[s] : offsets[s + 1]]
            for name, value in values.items()
        }
        reason = _not_finite(own)
        if reason and errors == "raise":
            raise InputError(f"{batch.name(s)}: {reason}")
        kept = {} if reason else {name: own[name] for name in names}
        results.append(_result(batch, s, Status.NON_FINITE if reason else Status.DONE, reason, kept))
    return results


def _on_host(calculator: BatchCalculator, state: SimState, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The quantities as float64 arrays; the virial too where stress is wanted, because it is always defined."""
    wanted = [*names]
    if "stress" in names and "virial" not in names and "virial" in calculator.capabilities.outputs:
        wanted.append("virial")
    values = calculator(state, wanted)
    return {name: value.detach().cpu().to(torch.float64).numpy() for name, value in values.items()}


def _not_finite(values: Mapping[str, np.ndarray]) -> str:
    """What is NaN or infinite among the quantities of one system; empty if nothing is. Stress may be undefined."""
    for name, value in values.items():
        if name != "stress" and not np.isfinite(value).all():
            where = ""
            if QUANTITIES[name].scope == "atom":
                where = f" of atom {int(np.argwhere(~np.isfinite(value))[0, 0])}"
            return f"{name}{where} is not finite; atoms may lie on top of each other"
    return ""


def _result(batch: Batch, row: int, status: Status, reason: str, values: Mapping[str, np.ndarray]) -> SystemResult:
    return SystemResult(
        system_id=int(batch.ids[row]),
        source=batch.source(row),
        n_atoms=batch.n_atoms(row),
        status=status,
        reason=reason,
        values=values,
        structure=lambda: batch.atoms(row),
    )


def _named(batch: Batch, error: Exception) -> str:
    """The message of an error about the only structure of a batch, with that structure's name."""
    name, message = batch.name(0), str(error)
    return message if name in message else f"{name}: {message}"


def _status_of(error: Exception) -> Status:
    if isinstance(error, UnsupportedSpeciesError):
        return Status.UNSUPPORTED
    return Status.TOO_LARGE if isinstance(error, torch.OutOfMemoryError) else Status.INVALID_INPUT
