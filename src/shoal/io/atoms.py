"""ASE structures to a packed state and back, without loss.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.devices import as_device
from shoal.errors import InputError
from shoal.io.checks import check_structure, structure_name
from shoal.state import SimState, Source

if TYPE_CHECKING:
    from ase import Atoms

CORE_ARRAYS = ("numbers", "positions", "momenta", "masses", "type_label")
CORE_INFO = ("charge", "spin")
_TENSOR_KINDS = {np.dtype(t) for t in ("?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16")}


def atoms_to_state(
    structures: Atoms | Sequence[Atoms],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
    system_ids: Sequence[int] | None = None,
) -> SimState:
    """Pack ASE structures into one state.

    Positions stay as given, wrapped or not. Momenta become velocities (A/fs); `info["charge"]` (e) and
    `info["spin"]` (2S+1) become charge and spin; the array `type_label` becomes type_label. Other numeric arrays
    and info values that every structure has with one dtype and shape become `atom_extras` and `system_extras`;
    everything else rides along in `sources` and comes back from `state_to_atoms`.

    `system_ids`: S unique integers, default 0..S-1. Raises InputError naming the structure for NaN or infinite
    positions and cells, for periodic lattice vectors that are linearly dependent and for a charge or spin that is
    no number.
    """
    from ase import Atoms

    frames = [structures] if isinstance(structures, Atoms) else list(structures)
    for k, atoms in enumerate(frames):
        if not isinstance(atoms, Atoms):
            raise InputError(f"structure {k} must be an ase.Atoms, got {type(atoms).__name__}")
        check_structure(atoms, k)
    if system_ids is not None and len(system_ids) != len(frames):
        raise InputError(f"{len(system_ids)} system_ids for {len(frames)} structures")

    atom_extras = _common(frames, lambda a: a.arrays, CORE_ARRAYS)
    system_extras = _common(frames, lambda a: _numeric_info(a.info), CORE_INFO)
    state = SimState.build(
        positions=_pack([a.positions for a in frames], (0, 3), dtype),
        atomic_numbers=_pack([a.numbers for a in frames], (0,), torch.int64),
        n_atoms=[len(a) for a in frames],
        cell=torch.as_tensor(np.array([a.cell.array for a in frames]).reshape(-1, 3, 3), dtype=dtype),
        pbc=torch.as_tensor(np.array([a.pbc for a in frames], dtype=bool).reshape(-1, 3)),
        masses=_pack([a.get_masses() for a in frames], (0,), dtype),
        system_id=system_ids,
        velocities=_velocities(frames, dtype),
        charge=_info_numbers(frames, "charge", dtype),
        spin=_info_numbers(frames, "spin", dtype),
        type_label=_type_labels(frames),
        atom_extras={key: torch.as_tensor(np.concatenate([a.arrays[key] for a in frames])) for key in atom_extras},
        system_extras={key: torch.as_tensor(np.stack([a.info[key] for a in frames])) for key in system_extras},
        sources=tuple(_source(a, atom_extras, system_extras) for a in frames),
    )
    return state.to(as_device(device)) if device is not None else state


def state_to_atoms(state: SimState, results: Mapping[str, torch.Tensor] | None = None) -> list[Atoms]:
    """ASE structures of a state, as they came in; positions unwrapped, velocities as momenta.

    With `results` of a calculator each structure also gets a SinglePointCalculator with what they hold: energy
    (eV), free energy, forces (eV/A), stress (eV/A^3, Voigt; where the cell has a volume), energies (eV).
    """
    from ase import Atoms

    host = state.to("cpu")
    numpy = {
        "positions": host.positions.to(torch.float64).numpy(),
        "cell": host.cell.to(torch.float64).numpy(),
        "masses": host.masses.to(torch.float64).numpy(),
    }
    out = []
    for s in range(host.n_systems):
        a, b = int(host.offsets[s]), int(host.offsets[s + 1])
        source = host.sources[s] if host.sources is not None else Source()
        atoms = Atoms(
            numbers=host.atomic_numbers[a:b].numpy(),
            positions=numpy["positions"][a:b],
            cell=numpy["cell"][s],
            pbc=host.pbc[s].numpy(),
            celldisp=source.celldisp,
        )
        _restore_arrays(atoms, host, source, numpy["masses"][a:b], s, slice(a, b))
        _restore_info(atoms, host, source, s)
        atoms.set_constraint([deepcopy(constraint) for constraint in source.constraints])
        out.append(atoms)
    if results is not None:
        _attach_results(out, state, results)
    return out


def _pack(parts: Sequence[np.ndarray], empty: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(np.concatenate(parts) if parts else np.zeros(empty), dtype=dtype)


def _velocities(frames: Sequence[Atoms], dtype: torch.dtype) -> torch.Tensor | None:
    if not any("momenta" in a.arrays for a in frames):
        return None
    return _pack([_ase_velocities(a) for a in frames], (0, 3), dtype)


def _ase_velocities(atoms: Atoms) -> np.ndarray:
    """(N, 3) A/fs; a massless atom keeps still."""
    masses = _ase_masses(atoms.get_masses())
    momenta = atoms.get_momenta()
    return np.divide(momenta, masses, out=np.zeros_like(momenta), where=masses > 0)


def _ase_masses(masses: np.ndarray) -> np.ndarray:
    """(N, 1) ASE's momenta per A/fs: one rounded factor both ways, so that momenta come back to 2 ulp."""
    from ase.units import fs

    return masses[:, None] / fs


def _info_numbers(frames: Sequence[Atoms], key: str, dtype: torch.dtype) -> torch.Tensor | None:
    values = [a.info.get(key) for a in frames]
    if all(v is None for v in values):
        return None
    for k, value in enumerate(values):
        if value is not None and not _is_number(value):
            raise InputError(f"{structure_name(frames[k], k)}: info[{key!r}] must be a number, got {value!r}")
    return torch.tensor([float("nan") if v is None else float(v) for v in values], dtype=dtype)


def _is_number(value: Any) -> bool:
    zero_dimensional = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, Real) or zero_dimensional


def _type_labels(frames: Sequence[Atoms]) -> np.ndarray | None:
    if not any("type_label" in a.arrays for a in frames):
        return None
    parts = [a.arrays.get("type_label", np.full(len(a), "")) for a in frames]
    return np.concatenate([np.asarray(part).astype(str) for part in parts])


def _numeric_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Info values that a tensor can hold exactly."""

    def fits(value: Any) -> bool:
        if type(value) is int:
            return abs(value) < 2**63
        if type(value) is np.ndarray and value.ndim == 0:
            return False
        return type(value) in (bool, float, np.ndarray) or isinstance(value, np.generic)

    return {key: value for key, value in info.items() if isinstance(key, str) and fits(value)}


def _common(frames: Sequence[Atoms], values_of: Any, core: tuple[str, ...]) -> list[str]:
    """Names that every structure has, with one dtype and one shape, and that fit a tensor."""

    def kind(value: Any, per_atom: bool) -> tuple[Any, ...]:
        array = np.asarray(value)
        return (type(value), array.dtype, array.shape[1:] if per_atom else array.shape)

    if not frames:
        return []
    every = [values_of(a) for a in frames]
    per_atom = every[0] is frames[0].arrays
    names = [key for key in every[0] if key not in core and all(key in values for values in every)]
    return [
        key
        for key in names
        if np.asarray(every[0][key]).dtype in _TENSOR_KINDS
        and len({kind(values[key], per_atom) for values in every}) == 1
    ]


def _source(atoms: Atoms, atom_extras: Sequence[str], system_extras: Sequence[str]) -> Source:
    taken = {*CORE_ARRAYS, *atom_extras}
    return Source(
        info={key: deepcopy(value) for key, value in atoms.info.items() if key not in system_extras},
        arrays={key: value.copy() for key, value in atoms.arrays.items() if key not in taken},
        constraints=tuple(deepcopy(c) for c in atoms.constraints),
        given=frozenset(key for key in ("momenta", "masses", "type_label") if key in atoms.arrays),
        numpy_scalars=frozenset(key for key in system_extras if isinstance(atoms.info[key], np.generic)),
        celldisp=atoms.get_celldisp().copy() if atoms.get_celldisp().any() else None,
    )


def _restore_arrays(atoms: Atoms, state: SimState, source: Source, masses: np.ndarray, s: int, rows: slice) -> None:
    if "masses" in source.given or not np.array_equal(masses, _rounded(atoms.get_masses(), state.dtype)):
        atoms.set_masses(masses)
    if state.velocities is not None:
        velocities = state.velocities[rows].to(torch.float64).numpy()
        if "momenta" in source.given or velocities.any():
            atoms.set_momenta(velocities * _ase_masses(masses), apply_constraint=False)
    if state.type_label is not None:
        labels = state.type_label[rows]
        if "type_label" in source.given or (labels != "").any():
            atoms.set_array("type_label", labels)
    for key, value in state.atom_extras.items():
        atoms.set_array(key, np.asarray(value[rows]).copy())
    for key, value in source.arrays.items():
        atoms.set_array(key, value.copy())


def _rounded(masses: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    return torch.as_tensor(masses).to(dtype).to(torch.float64).numpy()


def _restore_info(atoms: Atoms, state: SimState, source: Source, s: int) -> None:
    atoms.info.update(deepcopy(dict(source.info)))
    for key, value in state.system_extras.items():
        row = np.asarray(value[s]).copy()
        atoms.info[key] = row if row.ndim else row[()] if key in source.numpy_scalars else row.item()
    for key in CORE_INFO:
        value = getattr(state, key)
        if value is None or bool(torch.isnan(value[s])):
            continue
        as_given = atoms.info.get(key)
        if as_given is None or float(torch.tensor(float(as_given), dtype=value.dtype)) != float(value[s]):
            atoms.info[key] = float(value[s])


def _attach_results(frames: Sequence[Atoms], state: SimState, results: Mapping[str, torch.Tensor]) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    host = {key: value.detach().cpu().to(torch.float64).numpy() for key, value in results.items()}
    for s, atoms in enumerate(frames):
        rows = slice(int(state.offsets[s]), int(state.offsets[s + 1]))
        values: dict[str, Any] = {}
        if "energy" in host:
            values["energy"] = values["free_energy"] = float(host["energy"][s])
        if "forces" in host:
            values["forces"] = host["forces"][rows]
        if "atomic_energy" in host:
            values["energies"] = host["atomic_energy"][rows]
        if "stress" in host and np.isfinite(host["stress"][s]).all():
            values["stress"] = full_3x3_to_voigt_6_stress(host["stress"][s])
        atoms.calc = SinglePointCalculator(atoms, **values)
