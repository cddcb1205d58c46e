"""`SimState`: many structures packed flat, with their sizes known on the host.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from shoal.errors import InputError

Extra = torch.Tensor | np.ndarray

FLOAT_DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Source:
    """What a structure carried that is no tensor, kept so that it comes back exactly.

    `given`: core arrays it had itself; `numpy_scalars`: system extras that were numpy scalars, not Python numbers.
    """

    info: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    constraints: tuple[Any, ...] = ()
    given: frozenset[str] = frozenset()
    numpy_scalars: frozenset[str] = frozenset()
    celldisp: np.ndarray | None = None


_ATOM = {"scope": "atom"}
_SYSTEM = {"scope": "system"}


@dataclass(frozen=True, eq=False)
class SimState:
    """`n_systems` structures packed flat; every tensor declares whether its rows are atoms or systems.

    Shapes and units (N atoms, S systems): positions (N, 3) A, wrapped or not; cell (S, 3, 3) A, rows are the
    lattice vectors; pbc (S, 3) bool; atomic_numbers (N,) int64; masses (N,) u; velocities (N, 3) A/fs;
    charge (S,) e and spin (S,) multiplicity 2S+1, NaN where a system gives none; type_label (N,) numpy strings,
    empty where an atom has none; system_id (S,) int64, unique. Values in `atom_extras` have N rows, values in
    `system_extras` S rows. `offsets` (S+1,) lives on the host: system s owns atoms offsets[s]:offsets[s+1].

    Use `SimState.build` or `shoal.io.atoms_to_state` to make one.

    Raises InputError when shapes, dtypes or devices disagree.
    """

    positions: torch.Tensor = field(metadata=_ATOM)
    cell: torch.Tensor = field(metadata=_SYSTEM)
    pbc: torch.Tensor = field(metadata=_SYSTEM)
    atomic_numbers: torch.Tensor = field(metadata=_ATOM)
    masses: torch.Tensor = field(metadata=_ATOM)
    system_index: torch.Tensor = field(metadata=_ATOM)
    system_id: torch.Tensor = field(metadata=_SYSTEM)
    offsets: torch.Tensor = field(metadata={"scope": "host"})
    velocities: torch.Tensor | None = field(default=None, metadata=_ATOM)
    charge: torch.Tensor | None = field(default=None, metadata=_SYSTEM)
    spin: torch.Tensor | None = field(default=None, metadata=_SYSTEM)
    type_label: np.ndarray | None = field(default=None, metadata=_ATOM)
    atom_extras: Mapping[str, Extra] = field(default_factory=dict, metadata={"scope": "atom_extras"})
    system_extras: Mapping[str, Extra] = field(default_factory=dict, metadata={"scope": "system_extras"})
    sources: tuple[Source, ...] | None = field(default=None, metadata={"scope": "sources"})

    @classmethod
    def build(
        cls,
        positions: torch.Tensor,
        atomic_numbers: torch.Tensor,
        n_atoms: Sequence[int],
        *,
        cell: torch.Tensor | None = None,
        pbc: torch.Tensor | None = None,
        masses: torch.Tensor | None = None,
        system_id: torch.Tensor | Sequence[int] | None = None,
        **optional: Any,
    ) -> SimState:
        """Pack tensors into a state; what is left out is filled in.

        positions (N, 3) A; atomic_numbers (N,); n_atoms: atoms per system, length S; cell defaults to zeros, pbc to
        False, masses to ASE's table, system_id to 0..S-1; further fields by name. Raises InputError.
        """
        device, dtype = positions.device, positions.dtype
        counts = torch.as_tensor(list(n_atoms), dtype=torch.int64)
        n_systems = len(counts)
        offsets = torch.zeros(n_systems + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=offsets[1:])
        index = torch.repeat_interleave(torch.arange(n_systems), counts).to(device)
        if masses is None:
            from ase.data import atomic_masses

            table, numbers = torch.as_tensor(atomic_masses, dtype=dtype), atomic_numbers.cpu()
            unknown = ((numbers < 0) | (numbers >= len(table))).nonzero().flatten().tolist()
            if unknown:
                raise InputError(f"atom {unknown[0]} has the atomic number {int(numbers[unknown[0]])}: give its mass")
            masses = table[numbers].to(device)
        if system_id is None:
            system_id = torch.arange(n_systems, dtype=torch.int64)
        check_unique_ids(torch.as_tensor(system_id, dtype=torch.int64))
        return cls(
            positions=positions,
            cell=torch.zeros(n_systems, 3, 3, dtype=dtype, device=device) if cell is None else cell,
            pbc=torch.zeros(n_systems, 3, dtype=torch.bool, device=device) if pbc is None else pbc,
            atomic_numbers=atomic_numbers,
            masses=masses,
            system_index=index,
            system_id=torch.as_tensor(system_id, dtype=torch.int64, device=device),
            offsets=offsets,
            **optional,
        )

    def __post_init__(self) -> None:
        n, s = self.n_atoms, self.n_systems
        expected = {
            "positions": (n, 3),
            "cell": (s, 3, 3),
            "pbc": (s, 3),
            "atomic_numbers": (n,),
            "masses": (n,),
            "system_index": (n,),
            "system_id": (s,),
            "velocities": (n, 3),
            "charge": (s,),
            "spin": (s,),
            "type_label": (n,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise InputError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
        for name, rows in (("atom_extras", n), ("system_extras", s)):
            for key, value in getattr(self, name).items():
                if value.ndim == 0 or value.shape[0] != rows:
                    raise InputError(f"{name}[{key!r}] must have {rows} rows, got shape {tuple(value.shape)}")
        if self.sources is not None and len(self.sources) != s:
            raise InputError(f"sources must have one entry per system ({s}), got {len(self.sources)}")
        if self.positions.dtype not in FLOAT_DTYPES:
            raise InputError(f"positions must be float32 or float64, got {self.positions.dtype}")
        for name in ("cell", "masses", "velocities"):
            value = getattr(self, name)
            if value is not None and value.dtype != self.dtype:
                raise InputError(f"{name} is {value.dtype}, positions are {self.dtype}; give both one dtype")
        if self.pbc.dtype != torch.bool or self.atomic_numbers.dtype != torch.int64:
            raise InputError(
                f"pbc must be bool and atomic_numbers int64, got {self.pbc.dtype} and {self.atomic_numbers.dtype}"
            )
        device = self.device
        for name in expected:
            value = getattr(self, name)
            if isinstance(value, torch.Tensor) and value.device != device:
                raise InputError(f"{name} is on {value.device}, positions are on {device}")

    @property
    def n_systems(self) -> int:
        return self.offsets.shape[0] - 1

    @cached_property
    def n_atoms(self) -> int:
        return int(self.offsets[-1])

    @property
    def n_atoms_per_system(self) -> torch.Tensor:
        """(S,) int64 on the host."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def device(self) -> torch.device:
        return self.positions.device

    @property
    def dtype(self) -> torch.dtype:
        return self.positions.dtype

    def __len__(self) -> int:
        return self.n_systems

    def __repr__(self) -> str:
        return f"SimState({self.n_systems} systems, {self.n_atoms} atoms, {self.dtype}, {self.device})"

    def replace(self, **changes: Any) -> SimState:
        """A new state with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> SimState:
        """The same state on another device or with another float dtype; extras keep their dtype."""
        if dtype is not None and dtype not in FLOAT_DTYPES:
            raise InputError(f"a state is float32 or float64, not {dtype}")
        if dtype in (None, self.dtype) and (device is None or torch.device(device) == self.device):
            return self

        def convert(value: Any, *, cast: bool) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.to(device=device, dtype=dtype if cast and value.is_floating_point() else None)

        changes: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.metadata["scope"] in ("atom", "system"):
                changes[f.name] = convert(value, cast=True)
            elif f.metadata["scope"] in ("atom_extras", "system_extras"):
                changes[f.name] = {k: convert(v, cast=False) for k, v in value.items()}
        return replace(self, **changes)


def check_unique_ids(system_id: torch.Tensor) -> None:
    """Refuse equal system ids, which would share random numbers and results. Raises InputError."""
    ids, counts = torch.unique(system_id, return_counts=True)
    if len(ids) != len(system_id):
        raise InputError(
            f"system ids must be unique, but {ids[counts > 1][:5].tolist()} occur more than once; "
            "renumber=True (concatenate) or other system_ids= replace them"
        )
