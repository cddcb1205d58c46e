"""A NequIP model evaluated by its C++ kernel.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch

from shoal.architectures import NequIP
from shoal.architectures.native import QUANTITIES
from shoal.contract import Capabilities
from shoal.errors import InputError, UnsupportedRequestError
from shoal.neighbors import NeighborList
from shoal.neighbors.native import is_available
from shoal.potentials._native import FILE_SUPPORT, Forms, checked
from shoal.potentials.base import Potential
from shoal.potentials.learned import LearnedPotential
from shoal.state import SimState

if TYPE_CHECKING:
    from shoal.architectures.native import Kernel

CPU = torch.device("cpu")
FORMS: Forms = {
    "positions": (torch.float64, 2),
    "cell": (torch.float64, 3),
    "offsets": (torch.int64, 1),
    "neighbor": (torch.int64, 1),
    "edge_cell_shift": (torch.int64, 2),
    "atom_types": (torch.int64, 1),
    "system_index": (torch.int64, 1),
    "energy_weights": (torch.float64, 1),
}


PIECES = 256
"""Forces of trained models change by some 1e-5 eV/A; `shoal compile` measures."""
_OF_A_LIST = (torch.float64, torch.float64, torch.int64, torch.int64)
_UNLISTED = (torch.float64, torch.float64, torch.bool, *[torch.int64] * 3)


class KernelPotential(Potential):
    """A potential by a native kernel, or where that is None by a `compute` of its own."""

    _kernel: Kernel | None

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        return self.only(QUANTITIES, state, neighbors, atom_types, energy_weights)

    def only(
        self,
        names: Sequence[str],
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        if self._kernel is None:
            return self.compute(state, neighbors, atom_types, energy_weights)
        return evaluate(self._kernel, state, neighbors, atom_types, energy_weights, names)

    def by_geometry(
        self, names: Sequence[str], state: SimState, atom_types: torch.Tensor
    ) -> dict[str, torch.Tensor] | None:
        return None if self._kernel is None else evaluate_state(self._kernel, self.cutoff, state, atom_types, names)


class NativePotential(KernelPotential):
    """A learned potential as generated C++, built here for this processor; results are numbers without a graph.

    `pieces` of the tables that stand for the radial networks; None: the networks themselves, several times slower;
    "auto": 256, or those that the potential was trained with, which no others may replace. Raises
    UnsupportedRequestError for an architecture without a kernel, InputError, CompileError without a compiler.
    """

    skips_far_pairs = True

    def __init__(self, potential: LearnedPotential, pieces: int | Literal["auto"] | None = "auto") -> None:
        super().__init__()
        from shoal.architectures.native import Kernel, plan_of, source_of
        from shoal.native import load

        self.cutoff, self.type_names, self.species_map = potential.cutoff, potential.type_names, potential.species_map
        self._of = potential.capabilities
        trained = potential.spec.radial_table
        if pieces == "auto":
            pieces = trained or PIECES
        if trained not in (None, pieces):
            raise InputError(f"the potential was trained with tables of {trained} pieces, not {pieces}")
        plan = plan_of(checked_architecture(potential), pieces)
        self._kernel = Kernel(load(source_of(plan)), plan.weights)

    @cached_property
    def capabilities(self) -> Capabilities:
        return self._of.model_copy(update={"supported_devices": ("cpu",), "quantities": FILE_SUPPORT})


def checked_architecture(potential: LearnedPotential) -> NequIP:
    """The model of a potential, if there is a kernel for it. Raises UnsupportedRequestError."""
    if not isinstance(potential.model, NequIP):
        raise UnsupportedRequestError(
            f"there is no native kernel for the architecture {potential.spec.name}; take kernel inductor"
        )
    return potential.model


def evaluate(
    kernel: Kernel,
    state: SimState,
    neighbors: NeighborList,
    atom_types: torch.Tensor,
    energy_weights: torch.Tensor | None,
    names: Sequence[str] = QUANTITIES,
) -> dict[str, torch.Tensor]:
    """What `Potential.only` gives, by a kernel; pairs beyond the cutoff are skipped."""
    addresses = neighbors.addresses
    tensors = state.positions, state.cell, atom_types, state.system_index
    if addresses is not None and energy_weights is None and _as_wanted(tensors, _OF_A_LIST):
        if neighbors.positions.shape[0] != state.n_atoms:
            raise InputError("the neighbour list is of another state")
        return kernel.of_list(*tensors, neighbors.n_edges, addresses, names)
    given = (
        *(state.positions, state.cell, neighbors.offsets, neighbors.neighbor, neighbors.shifts),
        *(atom_types, state.system_index),
        *(() if energy_weights is None else (energy_weights,)),
    )
    return kernel(*checked(dict(zip(FORMS, given, strict=False)), FORMS, CPU), names=names)


def evaluate_state(
    kernel: Kernel, cutoff: float, state: SimState, atom_types: torch.Tensor, names: Sequence[str]
) -> dict[str, torch.Tensor] | None:
    """What `Potential.by_geometry` gives; None too for a state to be converted or with something wrong to be told."""
    tensors = state.positions, state.cell, state.pbc, state.offsets, atom_types, state.system_index
    if not (_as_wanted(tensors, _UNLISTED) and is_available()):
        return None
    return kernel.of_geometry(*tensors, cutoff, names)


def _as_wanted(tensors: Sequence[torch.Tensor], dtypes: Sequence[torch.dtype]) -> bool:
    """Whether a kernel can take them as they are."""
    for each, dtype in zip(tensors, dtypes, strict=True):  # `all` of a generator takes twice as long
        if not (each.dtype == dtype and each.is_contiguous() and each.is_cpu):
            return False
    return True
