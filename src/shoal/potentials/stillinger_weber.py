"""Stillinger-Weber silicon.

E edges, N atoms, P pairs of edges that share a centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shoal.nn.segments import gather, segment_sum
from shoal.potentials._rows import Kernel
from shoal.potentials.graph import Graph
from shoal.potentials.short_range import ShortRangePotential

EPSILON = 2.1683  # eV
SIGMA = 2.0951  # A
REACH = 1.80  # cutoff / SIGMA
LAMBDA = 21.0
GAMMA = 1.20
A = 7.049556277
B = 0.6022245584


class StillingerWeber(ShortRangePotential):
    """E_i = 1/2 sum_j phi_2(r_ij) + sum_(j<k) phi_3(r_ij, r_ik, theta_jik), the one type "Si".

    phi_2 = A eps (B (sigma/r)^4 - 1) exp(sigma / (r - cutoff)),
    phi_3 = lambda eps (cos theta + 1/3)^2 exp(gamma sigma / (r_ij - cutoff) + gamma sigma / (r_ik - cutoff)); both
    vanish at cutoff = 1.8 sigma = 3.77118 A with all their derivatives.

    Source: F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985), section II, eps = 50 kcal/mol as 2.1683 eV.
    """

    epsilon: torch.Tensor
    skips_far_pairs = True

    def __init__(self) -> None:
        super().__init__()
        self.type_names = ("Si",)
        self.species_map = {"Si": "Si"}
        self.cutoff = REACH * SIGMA
        self.register_buffer("epsilon", torch.tensor(EPSILON, dtype=torch.float64))

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        length = graph.edge_vectors.square().sum(1).sqrt()
        near = (length < self.cutoff).nonzero()[:, 0]
        r, centre = length[near], graph.edge_index[0, near]
        direction = graph.edge_vectors[near] / r[:, None]  # (E, 3)
        decay = torch.exp(SIGMA / (r - self.cutoff))
        pair = A * (B * (SIGMA / r) ** 4 - 1) * decay

        first, second = _pairs_of_edges(centre, graph.n_atoms)
        edge = torch.cat([direction, decay[:, None] ** GAMMA], dim=1)
        a, b = gather(edge, first), gather(edge, second)
        cosine = (a[:, :3] * b[:, :3]).sum(1)
        angle = LAMBDA * (cosine + 1 / 3) ** 2 * a[:, 3] * b[:, 3]

        per_atom = segment_sum(0.5 * pair, centre, graph.n_atoms) + segment_sum(angle, centre[first], graph.n_atoms)
        return self.epsilon * per_atom

    @property
    def kernel(self) -> Kernel:
        return Kernel("stillinger_weber", "pp")

    def kernel_arguments(self, atom_types: torch.Tensor, energy_weights: torch.Tensor | None) -> Sequence[Any]:
        numbers = [float(self.epsilon), SIGMA, self.cutoff, LAMBDA, GAMMA, A, B]
        return energy_weights, torch.tensor(numbers, dtype=torch.float64)


def _pairs_of_edges(centre: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both edges (P,), (P,) int64 of every pair with a common centre, each pair once; centre (E,) is sorted."""
    edges = torch.arange(centre.shape[0], device=centre.device)
    end = torch.bincount(centre, minlength=n_atoms).cumsum(0)
    later = end[centre] - edges - 1  # edges of the same centre behind each edge
    first = torch.repeat_interleave(edges, later)
    start = later.cumsum(0) - later
    second = first + 1 + torch.arange(first.shape[0], device=centre.device) - start[first]
    return first, second
