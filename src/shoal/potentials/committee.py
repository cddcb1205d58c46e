"""Several models of one system, whose mean is the energy and whose spread tells how far to trust it.

N atoms, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shoal.contract import Capabilities
from shoal.errors import InputError
from shoal.neighbors import NeighborList
from shoal.potentials._alike import check_alike
from shoal.potentials._derivatives import quantities
from shoal.potentials._seam import member_gradients
from shoal.potentials.graph import Graph
from shoal.potentials.learned import LearnedPotential
from shoal.potentials.short_range import ShortRangePotential, graph_of
from shoal.state import SimState


class Committee(ShortRangePotential):
    """E = mean_m E_m; `energy_ensemble` are the E_m, `energy_uncertainty` is their sample standard deviation.

    `members`: paths of `.shoal` packages or potentials, two at least, of the same atom types. They share one list of
    neighbours, the geometry of its edges where they see edges alike, and the backward pass through it.

    Raises InputError if they do not fit together, ModelFileError for a path that is no package.
    """

    def __init__(self, members: Sequence[ShortRangePotential | str | Path]) -> None:
        super().__init__()
        if len(members) < 2:
            raise InputError(f"a committee needs two members at least, got {len(members)}")
        opened = [LearnedPotential.from_package(m) if isinstance(m, str | Path) else m for m in members]
        for k, member in enumerate(opened):
            if not isinstance(member, ShortRangePotential):
                raise InputError(
                    f"member {k} is a {type(member).__name__}: a committee takes packages, not compiled files"
                )
        check_alike(opened, "members of a committee")
        self.members = nn.ModuleList(opened)
        self.type_names, self.species_map = opened[0].type_names, opened[0].species_map
        self.cutoff = max(member.cutoff for member in opened)
        self.strictly_local = all(member.strictly_local for member in opened)

    @property
    def _potentials(self) -> list[ShortRangePotential]:
        return list(self.members)  # type: ignore[arg-type]

    @property
    def _claims(self) -> dict[str, Any]:
        return Capabilities.claims_of([member.capabilities for member in self._potentials])

    @property
    def interaction_range(self) -> float:
        return self._claims["interaction_range"]

    @property
    def hops(self) -> int | None:
        return self._claims["hops"]

    @property
    def capabilities(self) -> Capabilities:
        general = super().capabilities
        energy = general.quantities["energy"]
        quantities = {
            **general.quantities,
            "energy_ensemble": energy,
            "energy_uncertainty": energy.model_copy(update={"explicit_gradients": {}}),
        }
        return general.model_copy(update={"quantities": quantities, **self._claims})

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        return self.member_energies(graph).mean(dim=1)

    def member_energies(self, graph: Graph) -> torch.Tensor:
        """(N, M) float64 eV."""
        return torch.stack([member.atomic_energies(graph) for member in self._potentials], dim=1)

    def edge_gradients(
        self, graph: Graph, energy_weights: torch.Tensor | None = None, *, each: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        members = [member.atomic_energies for member in self._potentials]
        return member_gradients(members, graph, energy_weights, each=each)

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        create_graph: bool = False,
    ) -> dict[str, torch.Tensor]:
        if create_graph:
            return super().compute(state, neighbors, atom_types, energy_weights, create_graph=True)
        graph = graph_of(state, neighbors, atom_types)
        energies, vectors, (gradient,) = self.edge_gradients(graph, energy_weights)
        return quantities(energies.mean(1), vectors, gradient, graph.edge_index, state.system_index, state.cell)
