"""Ziegler-Biersack-Littmark repulsion of nuclei, brought to zero at the cutoff.

Constants of LAMMPS' pair style zbl (J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in
Matter, 1985). E edges, N atoms, T types.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shoal.nn.radial import polynomial_envelope
from shoal.nn.segments import segment_sum

COULOMB = 14.399645
"""e^2 / (4 pi epsilon_0) in eV A."""
SCREENING_LENGTH = 0.46850
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))


class ZBL(nn.Module):
    """Half of Z_i Z_j e^2 / r psi(r) u(r / r_c) to each end of a pair; psi is the universal screening function."""

    numbers: Tensor

    def __init__(self, atomic_numbers: Sequence[int], envelope_p: int) -> None:
        """`atomic_numbers`: nuclear charge of each type (T,)."""
        super().__init__()
        self.envelope_p = envelope_p
        self.register_buffer("numbers", torch.tensor(atomic_numbers, dtype=torch.float64), persistent=False)

    def forward(self, distances: Tensor, x: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Energies (N,) eV from distances (E,) A and their shares x (E,) of the cutoff, all float64."""
        centre, neighbor = edge_index[0], edge_index[1]
        z = self.numbers[atom_types]
        lengths = z**0.23
        rho = (lengths[centre] + lengths[neighbor]) * distances / SCREENING_LENGTH
        psi = torch.zeros_like(rho)
        for weight, decay in SCREENING:
            psi = psi + weight * torch.exp(-decay * rho)
        pair = 0.5 * COULOMB * z[centre] * z[neighbor] / distances * psi * polynomial_envelope(x, self.envelope_p)
        return segment_sum(pair, centre, atom_types.shape[0])
