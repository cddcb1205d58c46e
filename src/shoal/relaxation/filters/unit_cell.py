"""The cell by its deformation gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.matrix_functions import inverse3, product3
from shoal.relaxation.filters.deforming_cell import DeformingCell, drive, masked_deformation
from shoal.relaxation.state import DeformedState


@dataclass(frozen=True)
class UnitCell(DeformingCell):
    """The rows of the deformation gradient are relaxed beside the atoms: ASE's `UnitCellFilter`.

    Source: E. B. Tadmor, G. S. Smith, N. Bernstein, E. Kaxiras, Phys. Rev. B 59, 235 (1999).
    """

    def undeformed(self, cell: torch.Tensor) -> torch.Tensor:
        return torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)

    def deform(self, rows: torch.Tensor, state: DeformedState) -> tuple[torch.Tensor, torch.Tensor]:
        deformation = masked_deformation(rows, state)
        return deformation, deformation.transpose(1, 2).contiguous()

    def row_forces(self, state: DeformedState) -> torch.Tensor:
        gradient = product3(drive(state), inverse3(state.deformation))
        allowed = self.only_hydrostatic(gradient, state) * state.strain_mask
        return self.without_volume(allowed, state)
