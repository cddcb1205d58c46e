"""Potentials that are sums over pairs.

E edges, N atoms.
"""

from __future__ import annotations

from abc import abstractmethod

import torch

from shoal.nn.segments import segment_sum
from shoal.potentials.base import Potential
from shoal.potentials.graph import Graph
from shoal.potentials.short_range import ShortRangePotential
from shoal.potentials.sum import Sum


class PairPotential(ShortRangePotential):
    """E_i = 1/2 sum_j phi(r_ij); a subclass writes `pair_energies` and nothing else."""

    skips_far_pairs = True

    @abstractmethod
    def pair_energies(self, squared: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """phi (eV) from squared distances (A^2) and both atom types, element by element (shapes broadcast).

        Zero beyond the cutoff, with finite derivatives there.
        """

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        i, j = graph.edge_index
        types = graph.atom_types
        phi = self.pair_energies(graph.edge_vectors.square().sum(1), types[i], types[j])
        return segment_sum(0.5 * phi, i, graph.n_atoms)


def pair_terms(potential: Potential) -> list[tuple[PairPotential, torch.Tensor | None]] | None:
    """The pair potentials that a potential is the sum of, each with its types by the sum's; None if it is not.

    The second entry is None where the types are the potential's own.
    """
    if isinstance(potential, PairPotential):
        return [(potential, None)]
    if not isinstance(potential, Sum):
        return None
    terms: list[tuple[PairPotential, torch.Tensor | None]] = []
    for term, types in zip(potential.terms, potential.types_of_terms, strict=True):
        inner = pair_terms(term)  # type: ignore[arg-type]
        if inner is None:
            return None
        terms += [(pair, types if own is None else own[types]) for pair, own in inner]
    return terms
