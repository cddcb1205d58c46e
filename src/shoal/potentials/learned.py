"""A trained architecture as a potential, in eager mode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from shoal.architectures import build
from shoal.architectures.geometry import EdgeGeometry
from shoal.contract import Capabilities, Support
from shoal.errors import ModelFileError
from shoal.files import ArchitectureSpec, Package, read_package
from shoal.neighbors import NeighborList
from shoal.potentials.graph import Graph
from shoal.potentials.short_range import ShortRangePotential, graph_of
from shoal.state import SimState


class LearnedPotential(ShortRangePotential):
    """An architecture of `shoal.architectures` with its weights; float64 everywhere outside its core.

    Trained with radial tables it computes by them, as its package says (`spec.radial_table`).
    """

    def __init__(
        self,
        spec: ArchitectureSpec,
        weights: Mapping[str, torch.Tensor] | None = None,
        species_map: Mapping[str, str] | None = None,
        *,
        convolution: str = "reference",
    ) -> None:
        super().__init__()
        self.spec = spec
        self.model = build(spec.name, spec.config, convolution=convolution, radial_table=spec.radial_table)
        if weights is not None:
            self.model.load_state_dict(dict(weights))
        self.model.eval().requires_grad_(False)
        self.cutoff = self.model.config.cutoff
        self.type_names = self.model.config.type_names
        self.species_map = species_map
        self.strictly_local = self.model.strictly_local

    @property
    def hops(self) -> int:
        return self.model.hops

    @classmethod
    def from_package(cls, package: Package | str | Path) -> LearnedPotential:
        """Build the model of a `.shoal` package. Raises ModelFileError."""
        content = package if isinstance(package, Package) else read_package(package)
        manifest = content.manifest
        try:
            potential = cls(manifest.architecture, content.weights, manifest.chemical_species_to_atom_type_map)
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"the package's weights or configuration do not fit: {error}") from None
        if potential.type_names != manifest.type_names or potential.cutoff != manifest.cutoff:
            raise ModelFileError("the package's manifest and its architecture disagree on types or cutoff")
        return potential

    @property
    def model_dtype(self) -> str:
        """Precision of the core: "float32" or "float64"."""
        return self.model.config.model_dtype

    @property
    def interaction_range(self) -> float:
        return self.model.interaction_range

    @property
    def capabilities(self) -> Capabilities:
        general = super().capabilities
        quantities = {**general.quantities, "feature": Support(differentiable=True)}
        return general.model_copy(update={"dtype": self.model_dtype, "quantities": quantities})

    def with_core_dtype(self, model_dtype: str) -> LearnedPotential:
        """The same model with a float32 or float64 core."""
        spec = self.spec.model_copy(update={"config": {**self.spec.config, "model_dtype": model_dtype}})
        weights = self.model.state_dict()
        target = build(spec.name, spec.config).state_dict()
        return LearnedPotential(spec, {k: v.to(target[k].dtype) for k, v in weights.items()}, self.species_map)

    def with_convolution(self, convolution: str) -> LearnedPotential:
        """The same model with another member of `shoal.nn.convolution`: the same numbers, to rounding."""
        return LearnedPotential(self.spec, self.model.state_dict(), self.species_map, convolution=convolution)

    def with_radial_table(self, pieces: int | None) -> LearnedPotential:
        """The same weights with tables of so many pieces for the radial networks, None: with the networks."""
        spec = self.spec.model_copy(update={"radial_table": pieces})
        return LearnedPotential(spec, self.model.state_dict(), self.species_map)

    def without_zbl(self) -> LearnedPotential:
        """The same model without nuclear repulsion."""
        spec = self.spec.model_copy(update={"config": {**self.spec.config, "zbl": None}})
        return LearnedPotential(spec, self.model.state_dict(), self.species_map)

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        return self.model.energies(self._geometry(graph), graph.edge_index, graph.atom_types)

    def features(self, graph: Graph) -> torch.Tensor:
        """Invariants of the last layer (N, F), which the energies are read from, in the core's precision."""
        return self.model.features(self._geometry(graph), graph.edge_index, graph.atom_types)

    def values(self, name: str, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        if name != "feature":
            return super().values(name, state, neighbors, atom_types)
        return self.features(graph_of(state, neighbors, atom_types)).to(torch.float64)

    def _geometry(self, graph: Graph) -> EdgeGeometry:
        key = self.model.geometry_key
        if key not in graph.made:
            graph.made[key] = self.model.geometry(graph.edge_vectors, graph.edge_index, graph.atom_types, graph.seam)
        return graph.made[key]
