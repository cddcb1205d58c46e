"""`NeighborList`: directed pairs of many systems, sorted by centre.

N atoms, E edges, S systems.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from shoal.errors import InputError
from shoal.neighbors.native import Packed, is_available, native_packed, native_within
from shoal.neighbors.pairs import Pairs
from shoal.state import SimState


@dataclass(frozen=True, eq=False)
class NeighborList:
    """All pairs (i, j, shift) with abs(r_j - r_i + shift @ cell) < cutoff + skin, both directions, self-images too.

    edge_index (2, E) int64, row 0 = centre i, row 1 = neighbour j, sorted by i; shifts (E, 3) int64 lattice
    translations; positions (N, 3) and cell (S, 3, 3) A are the ones it was built from; cutoff and skin in A.
    (i, j, shift) is present exactly if (j, i, -shift) is.
    """

    edge_index: torch.Tensor
    shifts: torch.Tensor
    system_index: torch.Tensor
    positions: torch.Tensor
    cell: torch.Tensor
    pbc: torch.Tensor
    cutoff: float
    skin: float = 0.0

    @property
    def n_edges(self) -> int:
        return self.edge_index.shape[1]

    @cached_property
    def neighbor(self) -> torch.Tensor:
        """(E,) int64: the neighbour of each edge."""
        return self.edge_index[1]

    def with_rows(self, offsets: torch.Tensor | None, reverse: torch.Tensor | None) -> NeighborList:
        """This list; its `offsets` and `reverse`, where given, are known from how it was made."""
        known = {"offsets": offsets, "reverse": reverse}
        vars(self).update({name: value for name, value in known.items() if value is not None})
        return self

    @property
    def is_native(self) -> bool:
        """Whether C++ kernels can work on it."""
        return self.edge_index.device.type == "cpu" and self.edge_index.is_contiguous() and is_available()

    @property
    def addresses(self) -> tuple[int, int, int] | None:
        """Where offsets, neighbours and shifts begin, for kernels that read them in place; None where they cannot.

        With SHOAL_DEBUG=1 raises InputError if the list is one-sided.
        """
        if not self._is_plain:
            return None
        return self.offsets.data_ptr(), self.neighbor.data_ptr(), self.shifts.data_ptr()

    @cached_property
    def _is_plain(self) -> bool:
        """Whether kernels can read its tensors as they are; looked at once, because it takes as long as they do."""
        tensors = self.offsets, self.neighbor, self.shifts
        shapes = (self.positions.shape[0] + 1,), (self.n_edges,), (self.n_edges, 3)
        if any(tensor.shape != shape for tensor, shape in zip(tensors, shapes, strict=True)):
            raise InputError("shifts or offsets of the neighbour list are not those of its edges and atoms")
        if os.environ.get("SHOAL_DEBUG") == "1":
            _ = self.reverse
        return all(t.dtype == torch.int64 and t.is_contiguous() and t.is_cpu for t in tensors)

    @property
    def pairs(self) -> Pairs:
        """Its edges; the reverse only if it is known."""
        return Pairs(self.edge_index, self.shifts, self.offsets, vars(self).get("reverse"))

    @cached_property
    def packed(self) -> Packed:
        """Its rows as C++ kernels take them. Raises InputError if the list is one-sided."""
        return native_packed(self.pairs._replace(reverse=self.reverse))

    def of_state(self, state: SimState) -> NeighborList:
        """The same list with the very tensors of its state, by which potentials recognise it as the state's own."""
        known = {
            name: value for name, value in vars(self).items() if name in ("offsets", "reverse", "inverse", "packed")
        }
        own = replace(self, system_index=state.system_index, pbc=state.pbc)
        vars(own).update(known)
        return own

    @cached_property
    def offsets(self) -> torch.Tensor:
        """CSR row pointers (N+1,) int64: the edges centred on atom i are offsets[i]:offsets[i+1]."""
        n_atoms = self.positions.shape[0]
        atoms = torch.arange(n_atoms + 1, dtype=torch.int64, device=self.edge_index.device)
        return torch.searchsorted(self.edge_index[0].contiguous(), atoms)

    @cached_property
    def reverse(self) -> torch.Tensor:
        """(E,) int64: the edge (j, i, -shift) of each edge, so that sums over either end are segment sums.

        Raises InputError if the list is one-sided.
        """
        i, j = self.edge_index
        n_atoms = self.positions.shape[0]
        forward = _lexsort(i * n_atoms + j, _as_number(self.shifts))
        backward = _lexsort(j * n_atoms + i, _as_number(-self.shifts))
        reverse = torch.empty_like(forward)
        reverse[forward] = backward
        if not self._is_reverse(reverse):
            raise InputError("the neighbour list is one-sided: some pair (i, j, shift) lacks its (j, i, -shift)")
        return reverse

    def _is_reverse(self, reverse: torch.Tensor) -> bool:
        same_pair = self.edge_index[:, reverse].flip(0) == self.edge_index
        return bool(same_pair.all()) and bool((self.shifts[reverse] == -self.shifts).all())

    def edge_vectors(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        """r_j - r_i + shift @ cell, (E, 3) A, differentiable in positions (N, 3) and cell (S, 3, 3)."""
        return edge_vectors(positions, cell, self.edge_index, self.shifts, self.system_index)

    def within(self, cutoff: float, positions: torch.Tensor, cell: torch.Tensor) -> NeighborList:
        """The pairs that are within `cutoff` now: a shorter list without skin."""
        if self.is_native and positions.dtype == cell.dtype == torch.float64:
            found = native_within(self.pairs, positions, cell, self.system_index, cutoff)
            shorter = replace(
                self,
                edge_index=found.edge_index,
                shifts=found.shifts,
                positions=positions,
                cell=cell,
                cutoff=cutoff,
                skin=0.0,
            )
            return shorter.with_rows(found.offsets, found.reverse)
        near = self.edge_vectors(positions, cell).square().sum(1) < cutoff * cutoff
        return replace(
            self,
            edge_index=self.edge_index[:, near],
            shifts=self.shifts[near],
            positions=positions,
            cell=cell,
            cutoff=cutoff,
            skin=0.0,
        )

    def outdated(self, state: SimState) -> torch.Tensor:
        """Which systems may have pairs within the cutoff that the list lacks: (S,) bool.

        A pair left out was at least cutoff + skin apart. After a deformation F (cell = cell_0 F) and further
        displacements of at most d it is still at least (1 - norm(F - 1)) (cutoff + skin) - 2 d apart, so the list
        holds while that is at least the cutoff. A system with NaN is outdated.
        """
        share = self.used_skin(state.positions.to(torch.float64), state.cell.to(torch.float64))
        fullest = torch.zeros(self.cell.shape[0], dtype=torch.float64, device=share.device)
        return ~(fullest.scatter_reduce(0, self.system_index, share, "amax") <= 1)

    def used_skin(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        """(N,): which share of what the skin allows each atom has moved; the list holds for a system while none is
        above 1. positions (N, 3) and cell (S, 3, 3) float64; NaN gives NaN, and a deformation that alone uses up the
        skin infinity.
        """
        return used_skin(
            positions,
            cell,
            (self.positions, self.cell, self.inverse),
            self.system_index,
            self.pbc,
            self.cutoff,
            self.skin,
        )

    def carried(self, change: torch.Tensor) -> torch.Tensor:
        """(N, 3) A: how far atoms go with a change (S, 3, 3) of their cells, fractional coordinates kept."""
        return carried(self.positions, self.inverse, change, self.system_index, self.pbc)

    @cached_property
    def inverse(self) -> torch.Tensor:
        """(S, 3, 3): times the change of the periodic rows it is F - 1, nothing in directions they do not span."""
        return torch.linalg.pinv(torch.where(self.pbc[:, :, None], self.cell, 0.0))


def edge_vectors(
    positions: torch.Tensor,
    cell: torch.Tensor,
    edge_index: torch.Tensor,
    shifts: torch.Tensor,
    system_index: torch.Tensor,
) -> torch.Tensor:
    """r_j - r_i + shift @ cell, (E, 3) A; tensors only, as compiled graphs take it."""
    i, j = edge_index[0], edge_index[1]
    translation = (shifts.to(positions.dtype)[:, :, None] * cell[system_index[i]]).sum(1)
    return positions[j] - positions[i] + translation


def used_skin(
    positions: torch.Tensor,
    cell: torch.Tensor,
    reference: Sequence[torch.Tensor],
    system_index: torch.Tensor,
    pbc: torch.Tensor,
    cutoff: float | torch.Tensor,
    skin: float | torch.Tensor,
) -> torch.Tensor:
    """`NeighborList.used_skin` of tensors only, as compiled graphs take it.

    `reference`: the list's positions, cell and inverse.
    """
    positions_then, cell_then, inverse = reference
    change = inverse @ torch.where(pbc[:, :, None], cell - cell_then, 0.0)
    affine = positions_then + carried(positions_then, inverse, cell - cell_then, system_index, pbc)
    # norms, not roots of sums: those wake MKL's threads even for a few numbers
    moved = torch.linalg.vector_norm(positions - affine, dim=1)
    least_stretch = 1 - torch.linalg.vector_norm(change, dim=(1, 2))
    allowed = (0.5 * (least_stretch * (cutoff + skin) - cutoff))[system_index]
    return torch.where(allowed < 0, float("inf"), torch.where(moved == 0, 0.0, moved / allowed))


def carried(
    positions: torch.Tensor, inverse: torch.Tensor, change: torch.Tensor, system_index: torch.Tensor, pbc: torch.Tensor
) -> torch.Tensor:
    """`NeighborList.carried` of tensors only: the list's positions and inverse, and the change of the cells."""
    strain = inverse @ torch.where(pbc[:, :, None], change, 0.0)
    return (positions[:, :, None] * strain[system_index]).sum(1)


def _as_number(shifts: torch.Tensor) -> torch.Tensor:
    """(E,) int64 that orders shifts (E, 3), for components below 2**20."""
    return (shifts[:, 0] * 2**21 + shifts[:, 1]) * 2**21 + shifts[:, 2]


def _lexsort(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Indices that sort by one key and then by another."""
    order = torch.argsort(second, stable=True)
    return order[torch.argsort(first[order], stable=True)]
