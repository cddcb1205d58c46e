"""Potentials that are functions of edge vectors.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from shoal.contract import BOTH, QUANTITIES, Capabilities, Support, Truncation
from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import (
    edge_forces,
    edge_gradients,
    edge_strain_gradient,
    energy_and_derivatives,
    system_energies,
)
from shoal.potentials._heat_flux import split_flux
from shoal.potentials._rows import Kernel, RowFunction
from shoal.potentials.base import EnergyDerivatives, Potential
from shoal.potentials.graph import Graph
from shoal.state import SimState

EAGER = {
    "energy": Support(explicit_gradients=BOTH, differentiable=True),
    "heat_flux": Support(sample_kinds=("system",), selected_atoms=False),
}
"""What the labelled face gives of any function of edge vectors."""


class ShortRangePotential(Potential):
    """A potential that is a function of edge vectors; it writes `atomic_energies` and nothing else."""

    strictly_local = True
    truncation: Truncation = "smooth"

    @abstractmethod
    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        """Energy of each atom (N,) float64 eV; edges longer than the cutoff contribute nothing."""

    def member_energies(self, graph: Graph) -> torch.Tensor:
        """(N, P): by each member where there are several; their mean is `atomic_energies`."""
        return self.atomic_energies(graph)[:, None]

    @property
    def interaction_range(self) -> float:
        return self.cutoff

    @property
    def hops(self) -> int | None:
        """Edges between an atom and the farthest it feels; None if unknown."""
        return 1 if self.strictly_local else None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            outputs=tuple(QUANTITIES),
            quantities=EAGER,
            atomic_types=self.type_names,
            interaction_range=self.interaction_range,
            hops=self.hops,
            strictly_local=self.strictly_local,
            truncation=self.truncation,
        )

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        create_graph: bool = False,
    ) -> dict[str, torch.Tensor]:
        by_kernel = None if create_graph else self.by_rows(state, neighbors, atom_types, energy_weights)
        if by_kernel is not None:
            return by_kernel(state.positions, state.cell).quantities(state.cell)
        graph = graph_of(state, neighbors, atom_types)
        return energy_and_derivatives(
            lambda r: self.atomic_energies(graph.with_edges(r)),
            graph.edge_vectors,
            neighbors.edge_index,
            state.system_index,
            state.cell,
            energy_weights=energy_weights,
            create_graph=create_graph,
        )

    @property
    def kernel(self) -> Kernel | None:
        """Its C++ kernel, if it has one. Subclasses do not inherit it: their energies may be others."""
        return None

    @property
    def has_kernels(self) -> bool:
        own = "kernel" in vars(type(self)) and self.device.type == "cpu"
        return own and self.kernel is not None and self.kernel.is_available()

    def kernel_arguments(self, atom_types: torch.Tensor, energy_weights: torch.Tensor | None) -> Sequence[Any]:
        """What the kernel takes beside rows, positions and cells; atom_types (N,), energy_weights (N,) float64."""
        return ()

    def by_rows(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> RowFunction | None:
        if self.kernel is None or not self.has_kernels:
            return None
        weights = None if energy_weights is None else energy_weights.detach().to(torch.float64).contiguous()
        return self.kernel.on(state, neighbors, self.kernel_arguments(atom_types, weights))

    def edge_gradients(
        self, graph: Graph, energy_weights: torch.Tensor | None = None, *, each: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Energies (N, P), edge vectors (E, 3) and gradients in them, (E, 3) each: of each property or of the mean."""
        return edge_gradients(
            lambda r: self.member_energies(graph.with_edges(r)), graph.edge_vectors, energy_weights, each=each
        )

    def energies(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        return self.member_energies(graph_of(state, neighbors, atom_types))

    def energy_derivatives(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        each: bool = False,
    ) -> EnergyDerivatives:
        if self.by_rows(state, neighbors, atom_types) is not None:
            return EnergyDerivatives.of(self.compute(state, neighbors, atom_types, energy_weights))
        graph, index = graph_of(state, neighbors, atom_types), neighbors.edge_index
        atomic, vectors, gradients = self.edge_gradients(graph, energy_weights, each=each)
        strain = [edge_strain_gradient(vectors, g, index, state.system_index, state.n_systems) for g in gradients]
        return EnergyDerivatives(
            system_energies(atomic, state.system_index, state.n_systems),
            atomic,
            torch.stack([-edge_forces(g, index, state.n_atoms) for g in gradients], dim=-1),
            torch.stack(strain, dim=-1),
        )

    def potential_heat_flux(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        if not self.strictly_local:
            return super().potential_heat_flux(state, neighbors, atom_types)
        graph = graph_of(state, neighbors, atom_types)
        _, vectors, (gradient,) = self.edge_gradients(graph)
        return split_flux(vectors, gradient, neighbors.edge_index, state)


def graph_of(state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> Graph:
    """The graph of a state; its edge vectors carry the caller's graph in positions and cell."""
    return Graph(
        edge_vectors=neighbors.edge_vectors(state.positions, state.cell),
        edge_index=neighbors.edge_index,
        atom_types=atom_types,
        system_index=state.system_index,
        charge=state.charge,
        spin=state.spin,
    )
