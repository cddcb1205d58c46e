"""C++ kernels of short-range potentials, over the packed rows of a neighbour list.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from shoal.errors import CompileError
from shoal.native import function, load, shipped
from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import stress
from shoal.state import SimState


class RowValues(NamedTuple):
    """What a kernel gives: energy (S,) eV, forces (N, 3) eV/A, virial (S, 3, 3) eV, atomic_energy (N,) eV; float64."""

    energy: torch.Tensor
    forces: torch.Tensor
    virial: torch.Tensor
    atomic_energy: torch.Tensor

    def quantities(self, cell: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `Potential.compute` gives."""
        return {**self._asdict(), "stress": stress(-self.virial, cell)}


RowFunction = Callable[[torch.Tensor, torch.Tensor], RowValues]
"""Of positions (N, 3) and cells (S, 3, 3), for as long as a neighbour list lasts."""


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
        packed, n_atoms, n_systems = neighbors.packed, state.n_atoms, state.n_systems
        columns = (state.system_index, packed.starts, packed.neighbor, packed.back, packed.owner, packed.shift)
        sizes = (n_atoms, n_systems, len(packed.owner))
        rows = torch.tensor([*sizes, *(column.data_ptr() for column in columns)])
        alive = (rows, columns)  # whose addresses are in it

        def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> RowValues:
            where = positions.detach().contiguous(), cell.detach().contiguous()
            values = RowValues(*(torch.empty(shape, dtype=torch.float64) for shape in shapes))
            call(alive[0], *where, *arguments, torch.get_num_threads(), *values)
            return values

        shapes = ((n_systems,), (n_atoms, 3), (n_systems, 3, 3), (n_atoms,))
        return evaluate

    def is_available(self) -> bool:
        """Whether a C++ compiler makes it, or has made it before."""
        return _function(self) is not None


@cache
def _function(kernel: Kernel) -> Callable[..., Any] | None:
    try:
        library = load(shipped(f"{kernel.name}.cpp"), dict(kernel.defines))
    except CompileError:
        return None
    return function(library, kernel.name, f"ppp{kernel.arguments}ipppp")
