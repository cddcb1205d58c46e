"""The mean of many models differentiated one model at a time, and what they share once for all.

Only one model's graph is in memory at once. N atoms, E edges, M members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from shoal.potentials._derivatives import check_gradients_are_taken
from shoal.potentials.graph import Graph


class Seam:
    """Where the graphs of the members end and that of what is made of the edge vectors alone begins."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self.vectors = vectors
        self._shared: list[torch.Tensor] = []
        self._leaves: list[torch.Tensor] = []
        self._sums: dict[int, torch.Tensor] = {}

    def __call__(self, shared: torch.Tensor) -> torch.Tensor:
        """The same numbers with no graph behind them; what arrives at them is passed on by `gradient`."""
        leaf = shared.detach().requires_grad_(True)
        self._shared.append(shared)
        self._leaves.append(leaf)
        return leaf

    def collect(self, total: torch.Tensor) -> None:
        """Take a member's graph back as far as the seam."""
        found = torch.autograd.grad(total, [self.vectors, *self._leaves], allow_unused=True)
        for k, slope in enumerate(found):
            if slope is not None:
                self._sums[k] = self._sums[k] + slope if k in self._sums else slope

    def gradient(self) -> torch.Tensor:
        """In the edge vectors (E, 3), of all that was collected since the last call."""
        direct = self._sums.pop(0, torch.zeros_like(self.vectors))
        reached = sorted(self._sums)
        slopes = [self._sums.pop(k) for k in reached]
        if not reached:
            return direct
        shared = [self._shared[k - 1] for k in reached]
        return direct + torch.autograd.grad(shared, self.vectors, slopes, retain_graph=True)[0]


def member_gradients(
    members: Sequence[Callable[[Graph], torch.Tensor]], graph: Graph, energy_weights: torch.Tensor | None, *, each: bool
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """As `edge_gradients` of `_derivatives`: atomic energies (N, M), edge vectors, and gradients in them, (E, 3) each.

    `members`: a graph to atomic energies (N,). `each`: one gradient for each of them, else the one of their mean.
    """
    check_gradients_are_taken()
    vectors = graph.edge_vectors.detach().requires_grad_(True)
    seam, energies, gradients = Seam(vectors), [], []
    shared = graph.with_edges(vectors, seam)
    with torch.enable_grad():
        for member in members:
            atomic = member(shared)
            seam.collect(atomic.sum() if energy_weights is None else (atomic * energy_weights).sum())
            energies.append(atomic.detach())
            del atomic
            if each:
                gradients.append(seam.gradient())
        if not each:
            gradients.append(seam.gradient() / len(members))
    return torch.stack(energies, dim=1), vectors.detach(), gradients
