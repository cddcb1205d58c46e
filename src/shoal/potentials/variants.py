"""Several potentials behind one face: one gives the quantities, the others their variants."""

from __future__ import annotations

import torch
from torch import nn

from shoal.contract import Capabilities
from shoal.errors import InputError
from shoal.neighbors import NeighborList
from shoal.potentials._alike import check_alike
from shoal.potentials.base import EnergyDerivatives, Potential
from shoal.state import SimState


class Variants(Potential):
    """`Variants(pbe, r2scan=other)` is pbe, and gives `energy/r2scan` (and the like) from the other.

    All must have the same atom types and map. They share one neighbour list. Raises InputError.
    """

    def __init__(self, main: Potential, **variants: Potential) -> None:
        super().__init__()
        check_alike([main, *variants.values()], "a variant")
        for name in variants:
            if "/" in name or ":" in name:
                raise InputError(f"{name!r} cannot name a variant: it holds a / or :")
        self.main = main
        self.variants = nn.ModuleDict(variants)
        self.type_names, self.species_map = main.type_names, main.species_map
        self.cutoff = max(potential.cutoff for potential in (main, *variants.values()))

    @property
    def capabilities(self) -> Capabilities:
        """Outputs are those of the main potential; claims hold of every variant too."""
        general = self.main.capabilities
        variants = {name: self.variant(f"energy/{name}").capabilities for name in self.variants}
        quantities = dict(general.quantities)
        for name, other in variants.items():
            quantities |= {f"{base}/{name}": support for base, support in other.quantities.items()}
        claims = Capabilities.claims_of([general, *variants.values()])
        return general.model_copy(update={"quantities": quantities, **claims})

    def variant(self, name: str) -> Potential:
        _, *variant = name.split("/", 1)
        found = self.variants[variant[0]] if variant else self.main
        assert isinstance(found, Potential)
        return found

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        return self.main.compute(*self.main._prepared(state, neighbors, atom_types), energy_weights)

    def energies(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        return self.main.energies(*self.main._prepared(state, neighbors, atom_types))

    def energy_derivatives(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        each: bool = False,
    ) -> EnergyDerivatives:
        prepared = self.main._prepared(state, neighbors, atom_types)
        return self.main.energy_derivatives(*prepared, energy_weights, each=each)

    def values(self, name: str, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        return self.main.values(name, *self.main._prepared(state, neighbors, atom_types))

    def potential_heat_flux(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        return self.main.potential_heat_flux(*self.main._prepared(state, neighbors, atom_types))
