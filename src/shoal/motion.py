"""What a run moves: `Systems`, which stay as they are, and a `Frame`, which every step replaces by the next.

Both are dataclasses of tensors whose fields declare whether their rows are atoms or systems, so that taking some
systems, joining, and keeping frozen ones back are written once. N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, NamedTuple, Self, TypeVar

import torch

from shoal.nn.segments import segment_sum


def per_atom() -> Any:
    """A field whose rows are atoms."""
    return field(metadata={"scope": "atom"})


def per_system() -> Any:
    """A field whose rows are systems."""
    return field(metadata={"scope": "system"})


def memory() -> Any:
    """A field whose rows are systems and that a method goes on with when a run is continued by another."""
    return field(metadata={"scope": "system", "memory": True})


class Evaluation(NamedTuple):
    """Energy (S,) eV, forces (N, 3) eV/A and virial (S, 3, 3) eV of a configuration."""

    energy: torch.Tensor
    forces: torch.Tensor
    virial: torch.Tensor


def unevaluated(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
    """Zeros, for what must not depend on the potential."""
    return Evaluation(torch.zeros_like(cell[:, 0, 0]), torch.zeros_like(positions), torch.zeros_like(cell))


Evaluate = Callable[[torch.Tensor, torch.Tensor], Evaluation]
"""Positions (N, 3) A and cell (S, 3, 3) A to their Evaluation: all a step knows of the potential."""


T = TypeVar("T", bound="Rows")


@dataclass(frozen=True, eq=False)
class Rows:
    """Tensors with rows of atoms or of systems."""

    def leaves(self) -> list[torch.Tensor]:
        """Every tensor, in the order of the fields."""
        kind: Any = type(self)
        return [getattr(self, name) for name in _names(kind)]

    def with_leaves(self, leaves: Iterable[torch.Tensor]) -> Self:
        """The same kind of rows with other tensors, in the order of the fields."""
        return type(self)(*leaves)

    def replace(self, **changes: torch.Tensor) -> Self:
        """The same with some fields changed."""
        return replace(self, **changes)

    def become(self, kind: type[T], **more: torch.Tensor) -> T:
        """Rows of another kind, with these fields and `more`."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(self)}, **more)

    def take(self, atoms: torch.Tensor, systems: torch.Tensor) -> Self:
        """Some atoms' and some systems' rows; int64 indices, the atoms being those of the systems, in order."""
        index = {"atom": atoms, "system": systems}
        return type(self)(*(getattr(self, f.name)[index[f.metadata["scope"]]] for f in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, in order."""
        return cls(*(torch.cat(values) for values in zip(*(part.leaves() for part in parts), strict=True)))

    def where(self, systems: torch.Tensor, system_index: torch.Tensor, other: Self) -> Self:
        """These rows for the chosen `systems` (S,) bool and their atoms, those of `other` for the rest."""
        chosen = {"atom": systems[system_index], "system": systems}

        def pick(name: str, scope: str) -> torch.Tensor:
            new, old = getattr(self, name), getattr(other, name)
            if new is old:
                return new
            mask = chosen[scope]
            return torch.where(mask[(..., *[None] * (new.dim() - 1))], new, old)

        return type(self)(*(pick(f.name, f.metadata["scope"]) for f in fields(self)))


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """Of the fields; asked for at every step."""
    return tuple(f.name for f in fields(kind))


PerSystem = float | Sequence[float] | torch.Tensor
"""A parameter: one number for all, or one for each system in the order of the input."""


@dataclass(frozen=True, eq=False)
class Systems(Rows):
    """What does not change while systems move.

    system_index (N,) int64; atom_number (N,) int64, the place of an atom in its system; masses (N,) float64 u; fixed
    (N,) bool, atoms that stay where they are; pbc (S, 3) bool; n_atoms (S,) int64; fixed_com (S,) bool, systems whose
    centre of mass stays where it is; system_id (S,) int64; place (S,) int64, the row of a system in the caller's
    input, by which per-system arguments are picked.
    """

    system_index: torch.Tensor = per_atom()
    atom_number: torch.Tensor = per_atom()
    masses: torch.Tensor = per_atom()
    fixed: torch.Tensor = per_atom()
    pbc: torch.Tensor = per_system()
    n_atoms: torch.Tensor = per_system()
    fixed_com: torch.Tensor = per_system()
    system_id: torch.Tensor = per_system()
    place: torch.Tensor = per_system()

    @property
    def n_systems(self) -> int:
        return self.pbc.shape[0]

    def take(self, atoms: torch.Tensor, systems: torch.Tensor) -> Self:
        return super().take(atoms, systems)._renumbered()

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        return super().join(parts)._renumbered()

    def _renumbered(self) -> Self:
        numbers = torch.arange(self.n_systems, device=self.n_atoms.device)
        return self.replace(system_index=torch.repeat_interleave(numbers, self.n_atoms))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """(S, ...): the sum of `values` (N, ...) over the atoms of each system."""
        return segment_sum(values, self.system_index, self.n_systems)

    def of_atoms(self, values: torch.Tensor) -> torch.Tensor:
        """(N, ...): for each atom the value (S, ...) of its system."""
        return values[self.system_index]

    def pick(self, values: Any, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """(S,): a per-system argument, one number for all or one for each system of the input."""
        given = torch.as_tensor(values, dtype=dtype, device=self.pbc.device)
        return given.expand(self.n_systems).clone() if given.dim() == 0 else given[self.place]


@dataclass(frozen=True, eq=False)
class Frame(Rows):
    """The least that a moving method carries on: positions (N, 3) A, cell (S, 3, 3) A, and the energy (S,) eV and
    forces (N, 3) eV/A there."""

    positions: torch.Tensor = per_atom()
    cell: torch.Tensor = per_system()
    energy: torch.Tensor = per_system()
    forces: torch.Tensor = per_atom()
