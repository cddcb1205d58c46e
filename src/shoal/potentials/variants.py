"""Several potentials behind one face: one gives the quantities, the others their variants."""

from __future__ import annotations

import torch
from torch import nn

from shoal.contract import Capabilities
from shoal.errors import InputError
from shoal.neighbors import NeighborList
from shoal.potentials._alike import check_alike
from shoal.potentials.base import Potential
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
        general = self.main.capabilities
        quantities = dict(general.quantities)
        for name, potential in self.variants.items():
            assert isinstance(potential, Potential)
            quantities |= {f"{base}/{name}": support for base, support in potential.capabilities.quantities.items()}
        return general.model_copy(update={"quantities": quantities})

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
