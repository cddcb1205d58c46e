"""The cell by the logarithm of its deformation gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.matrix_functions import inverse3, matrix_exp3, matrix_exp3_derivative, matrix_log3, product3
from shoal.relaxation.filters.deforming_cell import DeformingCell, drive, masked_deformation
from shoal.relaxation.state import DeformedState


@dataclass(frozen=True)
class Frechet(DeformingCell):
    """The matrix logarithm of the deformation gradient is relaxed beside the atoms: ASE's `FrechetCellFilter`.

    Source: the gradient in the logarithm by the Frechet derivative of the exponential, K. Shinohara's notes that
    ASE's filter cites; N. J. Higham, Functions of Matrices, SIAM (2008), chapter 3, for the adjoint.
    """

    def undeformed(self, cell: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(cell)

    def deform(self, rows: torch.Tensor, state: DeformedState) -> tuple[torch.Tensor, torch.Tensor]:
        deformation = masked_deformation(matrix_exp3(rows), state)
        if self.strain_mask is None:
            return deformation, rows
        # what the mask takes off the deformation is in its logarithm, too
        return deformation, matrix_log3(deformation.transpose(1, 2))

    def row_forces(self, state: DeformedState) -> torch.Tensor:
        allowed = self.only_hydrostatic(drive(state), state) * state.strain_mask
        gradient = product3(allowed, inverse3(state.deformation))
        return self.without_volume(matrix_exp3_derivative(state.rows.transpose(1, 2), gradient), state)
