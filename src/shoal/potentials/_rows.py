"""C++ kernels of short-range potentials: what they take and give.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from shoal.errors import CompileError
from shoal.native import function, load, shipped
from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import stress
from shoal.state import SimState

Kernel = Callable[..., Any]


def kernel_for(
    state: SimState, neighbors: NeighborList, name: str, arguments: str, result: str | None = None, **defines: str
) -> Kernel | None:
    """The function `name` of the kernel of that name; None where it cannot be had, on a GPU or without a compiler.

    None too for a list whose reverse is not known: it may be one-sided.
    """
    if not neighbors.is_native or neighbors.pairs.reverse is None or state.dtype != torch.float64:
        return None
    return _kernel(name, arguments, result, tuple(sorted(defines.items())))


@cache
def _kernel(name: str, arguments: str, result: str | None, defines: tuple[tuple[str, str], ...]) -> Kernel | None:
    try:
        return function(load(shipped(f"{name}.cpp"), dict(defines)), name, arguments, result)
    except CompileError:
        return None


class RowSums:
    """Where a kernel writes: atomic_energy (N,), forces (N, 3), energy (S,) and virial (S, 3, 3) float64."""

    def __init__(self, state: SimState, neighbors: NeighborList) -> None:
        packed, n_systems = neighbors.packed, state.n_systems
        self.positions, self.cell = state.positions.detach().contiguous(), state.cell.detach().contiguous()
        tensors = (state.system_index, packed.starts, packed.neighbor, packed.back, packed.owner, packed.shift)
        sizes = (state.n_atoms, n_systems, len(packed.owner))
        self.rows = torch.tensor([*sizes, *(tensor.data_ptr() for tensor in tensors)])
        self.atomic_energy, self.forces = self.positions.new_empty(state.n_atoms), torch.empty_like(self.positions)
        self.energy, self.virial = self.cell.new_empty(n_systems), torch.empty_like(self.cell)

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        return self.rows, self.positions, self.cell

    @property
    def outputs(self) -> tuple[torch.Tensor, ...]:
        return self.atomic_energy, self.forces, self.energy, self.virial

    def quantities(self) -> dict[str, torch.Tensor]:
        """What `Potential.compute` gives."""
        return {
            "atomic_energy": self.atomic_energy,
            "energy": self.energy,
            "forces": self.forces,
            "stress": stress(-self.virial, self.cell),
            "virial": self.virial,
        }
