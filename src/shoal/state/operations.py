"""Joining and taking apart states; generic over every field by its declared scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from shoal.errors import InputError
from shoal.state.sim_state import Extra, SimState, Source, check_unique_ids


def concatenate(states: Sequence[SimState], *, renumber: bool = False) -> SimState:
    """One state that holds the systems of all `states`, in order, each with its own pbc and cell.

    An extra that not every state has (or not with one dtype and shape) moves to the `sources`, from where it
    returns to its structure's arrays or info. Raises InputError when devices or dtypes differ, and for equal
    system ids unless `renumber=True` numbers them anew.
    """
    if not states:
        raise InputError("concatenate needs at least one state")
    first = states[0]
    for k, state in enumerate(states):
        if (state.device, state.dtype) != (first.device, first.dtype):
            raise InputError(
                f"state {k} is {state.dtype} on {state.device}, state 0 is {first.dtype} on {first.device}"
            )
    states = _with_common_extras(states)
    counts = torch.cat([state.n_atoms_per_system for state in states])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
    index = torch.repeat_interleave(torch.arange(len(counts)), counts).to(first.device)
    joined: dict[str, Any] = {"offsets": offsets, "system_index": index}
    for f in fields(SimState):
        if f.name in joined:
            continue
        values = [getattr(state, f.name) for state in states]
        rows = [state.n_atoms if f.metadata["scope"] == "atom" else state.n_systems for state in states]
        if f.metadata["scope"] in ("atom", "system"):
            joined[f.name] = _join_optional(f.name, values, rows)
        elif f.name == "sources":
            joined[f.name] = _join_sources(states)
        else:
            joined[f.name] = {key: _join([extras[key] for extras in values]) for key in values[0]}
    if renumber:
        joined["system_id"] = torch.arange(len(counts), dtype=torch.int64, device=first.device)
    else:
        check_unique_ids(joined["system_id"])
    return SimState(**joined)


def split(state: SimState) -> list[SimState]:
    """One state per system, in order, each with its system id."""
    return [select(state, [s]) for s in range(state.n_systems)]


def select(state: SimState, systems: Iterable[int] | torch.Tensor | slice) -> SimState:
    """The state of some systems, in the order given, with their system ids.

    `systems`: indices (negative ones count from the end), a boolean tensor (S,), or a slice. Raises InputError for
    an index that does not exist or occurs twice (two systems would share one id).
    """
    chosen = _system_list(state, systems)
    starts, ends = state.offsets[chosen], state.offsets[chosen + 1]
    counts = ends - starts
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
    within = torch.arange(int(offsets[-1])) - torch.repeat_interleave(offsets[:-1], counts)
    atoms = torch.repeat_interleave(starts, counts) + within
    rows = {"atom": _row_picker(atoms, state.device), "system": _row_picker(chosen, state.device)}
    changes: dict[str, Any] = {
        "offsets": offsets,
        "system_index": torch.repeat_interleave(torch.arange(len(chosen)), counts).to(state.device),
    }
    for f in fields(state):
        scope, value = f.metadata["scope"], getattr(state, f.name)
        if f.name in changes:
            continue
        if scope in rows:
            changes[f.name] = rows[scope](value)
        elif scope in ("atom_extras", "system_extras"):
            pick = rows[scope.removesuffix("_extras")]
            changes[f.name] = {name: pick(extra) for name, extra in value.items()}
        elif scope == "sources" and value is not None:
            changes[f.name] = tuple(value[s] for s in chosen.tolist())
    return replace(state, **changes)


def _system_list(state: SimState, systems: Iterable[int] | torch.Tensor | slice) -> torch.Tensor:
    n = state.n_systems
    if isinstance(systems, slice):
        return torch.tensor(range(n)[systems], dtype=torch.int64)
    chosen = torch.as_tensor(systems if isinstance(systems, torch.Tensor) else list(systems)).cpu()
    if chosen.dtype == torch.bool:
        if tuple(chosen.shape) != (n,):
            raise InputError(f"a boolean selection needs shape ({n},), got {tuple(chosen.shape)}")
        return chosen.nonzero()[:, 0]
    chosen = chosen.to(torch.int64).reshape(-1)
    outside = (chosen < -n) | (chosen >= n)
    if bool(outside.any()):
        raise InputError(f"system {int(chosen[outside][0])} does not exist: the state has {n} systems")
    chosen = chosen % n if n else chosen
    if len(chosen.unique()) < len(chosen):
        raise InputError(
            "a system is selected twice; concatenate(..., renumber=True) makes copies with ids of their own"
        )
    return chosen


def _row_picker(rows: torch.Tensor, device: torch.device) -> Callable[[Any], Any]:
    on_device, on_host = rows.to(device), rows.numpy()

    def pick(value: Any) -> Any:
        if value is None:
            return None
        return value[on_device] if isinstance(value, torch.Tensor) else value[on_host]

    return pick


def _join(values: Sequence[Any]) -> Any:
    return torch.cat(list(values)) if isinstance(values[0], torch.Tensor) else np.concatenate(values)


_FILL: dict[str, Any] = {"velocities": 0.0, "charge": float("nan"), "spin": float("nan"), "type_label": ""}


def _join_optional(name: str, values: Sequence[Any], rows: Sequence[int]) -> Any:
    """Join a field; where only some states have it, the others get its 'not given' value."""
    present = [v for v in values if v is not None]
    if not present:
        return None
    filled = []
    for value, n in zip(values, rows, strict=True):
        if value is None:
            like = present[0]
            if isinstance(like, torch.Tensor):
                value = like.new_full((n, *like.shape[1:]), _FILL[name])
            else:
                value = np.full((n, *like.shape[1:]), _FILL[name], dtype=like.dtype)
        filled.append(value)
    return _join(filled)


def _kind(extra: Extra | None) -> tuple[Any, ...] | None:
    return None if extra is None else (type(extra), extra.dtype, tuple(extra.shape[1:]))


def _with_common_extras(states: Sequence[SimState]) -> list[SimState]:
    """The states with every extra they do not all share moved to their sources."""
    kept = list(states)
    for name in ("atom_extras", "system_extras"):
        every = [getattr(state, name) for state in kept]
        names = {key for extras in every for key in extras}
        differing = {key for key in names if len({_kind(extras.get(key)) for extras in every}) > 1}
        if differing:
            kept = [_move_to_sources(state, name, differing) for state in kept]
    return kept


def _move_to_sources(state: SimState, name: str, keys: set[str]) -> SimState:
    extras = getattr(state, name)
    sources = list(state.sources or (Source(),) * state.n_systems)
    for key in keys & set(extras):
        value = extras[key].cpu().numpy() if isinstance(extras[key], torch.Tensor) else extras[key]
        for s, source in enumerate(sources):
            if name == "atom_extras":
                rows = value[int(state.offsets[s]) : int(state.offsets[s + 1])]
                sources[s] = replace(source, arrays={**source.arrays, key: rows})
            else:
                item = value[s].item() if value.ndim == 1 and key not in source.numpy_scalars else value[s]
                sources[s] = replace(source, info={**source.info, key: item})
    left = {key: value for key, value in extras.items() if key not in keys}
    return state.replace(**{name: left, "sources": tuple(sources)})


def _join_sources(states: Sequence[SimState]) -> tuple[Source, ...] | None:
    if all(state.sources is None for state in states):
        return None
    return tuple(s for state in states for s in (state.sources or (Source(),) * state.n_systems))
