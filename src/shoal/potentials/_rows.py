"""C++ kernels of short-range potentials, over the packed rows of a neighbour list.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch

from shoal.errors import InputError
from shoal.native import function, kernel, pointer, pointers, threads_for
from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import stress
from shoal.state import SimState

ATOMS_OF_A_THREAD = 512
"""What is worth waking a thread for."""


class RowValues(NamedTuple):
    """What a kernel gives: energy (S,) eV, forces (N, 3) eV/A, virial (S, 3, 3) eV, atomic_energy (N,) eV; float64.

    NaN for a virial that was not asked for.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    virial: torch.Tensor
    atomic_energy: torch.Tensor

    def quantities(self, cell: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `Potential.compute` gives."""
        return {**self._asdict(), "stress": stress(-self.virial, cell)}


class RowFunction(Protocol):
    """Of positions (N, 3) and cells (S, 3, 3), for as long as a neighbour list lasts; without `strain` no virial.

    Raises InputError for other numbers of atoms or systems than the list's.
    """

    def __call__(self, positions: torch.Tensor, cell: torch.Tensor, strain: bool = True) -> RowValues: ...


class Kernel(NamedTuple):
    """The C++ function `name` of the source of that name: rows, positions, cells, `arguments`, threads, results.

    `arguments` are letters as `shoal.native.function` has them.
    """

    name: str
    arguments: str
    defines: tuple[tuple[str, str], ...] = ()

    def on(self, state: SimState, neighbors: NeighborList, arguments: Sequence[Any]) -> RowFunction | None:
        """The kernel for the atoms of a state and their list.

        None where it cannot be had, on a GPU and without a compiler, and for a list whose reverse is not known: it may
        be one-sided.
        """
        if not neighbors.is_native or neighbors.pairs.reverse is None:
            return None
        call = _function(self)
        if call is None:
            return None
        packed = neighbors.packed
        columns = (state.system_index, packed.starts, packed.neighbor, packed.back, packed.owner, packed.shift)
        return _OnRows(call, (state.n_atoms, state.n_systems, len(packed.owner)), columns, arguments)

    def is_available(self) -> bool:
        """Whether a C++ compiler makes it, or has made it before."""
        return _function(self) is not None


class _OnRows:
    """A kernel with all that stays while a list lasts; it keeps the tensors whose addresses it holds."""

    def __init__(
        self,
        call: Callable[..., Any],
        sizes: tuple[int, int, int],
        columns: Sequence[torch.Tensor],
        arguments: Sequence[Any],
    ) -> None:
        self.call, self.columns, self.arguments = call, columns, arguments
        self.rows = torch.tensor([*sizes, *(column.data_ptr() for column in columns)])
        self.where, self.fixed = pointer(self.rows), pointers(arguments)
        self.n_atoms, self.n_systems, _ = sizes
        self.no_virial = torch.full((self.n_systems, 3, 3), float("nan"), dtype=torch.float64)

    def __call__(self, positions: torch.Tensor, cell: torch.Tensor, strain: bool = True) -> RowValues:
        if positions.shape != (self.n_atoms, 3) or cell.shape != (self.n_systems, 3, 3):
            raise InputError(f"the list is of {self.n_atoms} atoms in {self.n_systems} systems, not of these")
        positions, cell = (each.to(torch.float64).contiguous() for each in (positions, cell))
        # `torch.empty` takes half as long again
        energy, atomic_energy = cell.new_empty(self.n_systems), positions.new_empty(self.n_atoms)
        forces, virial = torch.empty_like(positions), torch.empty_like(cell) if strain else None
        threads = threads_for(self.n_atoms, ATOMS_OF_A_THREAD)
        self.call(self.where, positions, cell, *self.fixed, threads, energy, forces, virial, atomic_energy)
        return RowValues(energy, forces, self.no_virial if virial is None else virial, atomic_energy)


@cache
def _function(of: Kernel) -> Callable[..., Any] | None:
    library = kernel(f"{of.name}.cpp", of.defines)
    return None if library is None else function(library, of.name, f"ppp{of.arguments}ipppp")
