"""What all architectures share: atom types, cutoffs, energy scales and shifts, nuclear repulsion.

N atoms, E edges, T types.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

from shoal.architectures.geometry import EdgeGeometry
from shoal.nn import ZBL, EdgeCutoffs, ScaleShift

Nonlinearity = Annotated[
    Literal["silu", "mish", "gelu"] | None, BeforeValidator(lambda value: None if value == "none" else value)
]
CutoffsByType = dict[str, float | dict[str, float]]


class ZBLConfig(BaseModel):
    """Ziegler-Biersack-Littmark repulsion beside the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    species: dict[str, str] | None = Field(None, description="chemical symbol of each type; by default its name is one")
    polynomial_cutoff_p: int = Field(6, ge=2, description="exponent of the envelope that ends it at the cutoff")


class ArchitectureConfig(BaseModel):
    """What fixes a model of any architecture except its trained numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cutoff: float = Field(gt=0, description="distance in A beyond which atoms do not see each other")
    per_edge_type_cutoff: CutoffsByType | None = Field(
        None,
        description="shorter cutoffs in A by the type of the centre, each a number or a mapping from the type of the "
        "neighbour; what is left out has the cutoff",
    )
    type_names: tuple[str, ...] = Field(min_length=1, description="names of the atom types, by index")
    mean_neighbors: float | tuple[float, ...] = Field(
        description="mean number of neighbours within the cutoff, one number or one per type (also as a mapping "
        "from type names); sums over neighbours are divided by its root"
    )
    zbl: ZBLConfig | None = Field(None, description="nuclear repulsion at short distances; true for its defaults")
    scales_trainable: bool = Field(False, description="train the energy scale of each type")
    shifts_trainable: bool = Field(False, description="train the energy shift of each type")
    model_dtype: Literal["float32", "float64"] = Field("float32", description="precision of features and weights")
    seed: int = Field(0, description="seed of the initial weights")

    @model_validator(mode="before")
    @classmethod
    def _neighbors_by_name(cls, values: Any) -> Any:
        """Order a mapping type name -> mean neighbours by the type names."""
        if not isinstance(values, dict) or not isinstance(values.get("mean_neighbors"), dict):
            return values
        by_name, names = values["mean_neighbors"], tuple(values.get("type_names", ()))
        if set(by_name) != set(names):
            raise ValueError(f"mean_neighbors has types {sorted(by_name)}, the model has {sorted(names)}")
        return {**values, "mean_neighbors": tuple(by_name[name] for name in names)}

    @field_validator("zbl", mode="before")
    @classmethod
    def _with_defaults(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"zbl is true, false, or a section with species and polynomial_cutoff_p; got {value!r}")
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @field_validator("type_names")
    @classmethod
    def _distinct_words(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name or name.split() != [name]:
                raise ValueError(f"type name {name!r} must be one word")
            if names.count(name) > 1:
                raise ValueError(f"type name {name!r} appears twice")
        return names

    @model_validator(mode="after")
    def _fits_the_types(self) -> Self:
        if isinstance(self.mean_neighbors, tuple) and len(self.mean_neighbors) != len(self.type_names):
            raise ValueError(f"mean_neighbors has {len(self.mean_neighbors)} entries for {len(self.type_names)} types")
        if not all(isfinite(count) and count > 0 for count in self.neighbors_by_type):
            raise ValueError(f"mean_neighbors is {self.mean_neighbors}; it must be positive")
        self._check_cutoffs(self.per_edge_type_cutoff or {})
        if self.zbl is not None:
            _ = self.atomic_numbers
        return self

    def _check_cutoffs(self, given: Mapping[str, float | Mapping[str, float]]) -> None:
        for centre, entry in given.items():
            row = entry if isinstance(entry, Mapping) else {centre: entry}
            for name in (centre, *row):
                if name not in self.type_names:
                    raise ValueError(f"per_edge_type_cutoff: unknown type {name!r}; there are {self.type_names}")
            for cutoff in row.values():
                if not 0 < cutoff <= self.cutoff:
                    raise ValueError(
                        f"per_edge_type_cutoff of {centre} is {cutoff} A; it must be positive and at most the cutoff "
                        f"{self.cutoff} A"
                    )

    @property
    def neighbors_by_type(self) -> tuple[float, ...]:
        given = self.mean_neighbors
        return given if isinstance(given, tuple) else (given,) * len(self.type_names)

    @property
    def cutoffs_by_types(self) -> list[list[float]] | None:
        """(T, T) A, [centre][neighbour]; None where all pairs have the cutoff."""
        given = self.per_edge_type_cutoff
        if not given:
            return None

        def of(centre: str, neighbor: str) -> float:
            entry = given.get(centre, self.cutoff)
            return entry.get(neighbor, self.cutoff) if isinstance(entry, dict) else entry

        return [[of(centre, neighbor) for neighbor in self.type_names] for centre in self.type_names]

    @property
    def reach(self) -> float:
        """Distance in A within which any two atoms see each other."""
        return self.cutoff if self.cutoffs_by_types is None else max(map(max, self.cutoffs_by_types))

    @property
    def atomic_numbers(self) -> list[int]:
        """Nuclear charge of each type, for the ZBL term. Raises ValueError for a type without a chemical symbol."""
        from ase.data import atomic_numbers

        species = (self.zbl.species if self.zbl is not None else None) or {name: name for name in self.type_names}
        if set(species) != set(self.type_names):
            raise ValueError(f"zbl.species has types {sorted(species)}, the model has {sorted(self.type_names)}")
        for name, symbol in species.items():
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"zbl: type {name!r} has no chemical symbol ({symbol!r}); give zbl.species")
        return [atomic_numbers[species[name]] for name in self.type_names]

    @property
    def dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "float64": torch.float64}[self.model_dtype]


class AtomicEnergyModel(nn.Module, ABC):
    """Atomic energies from edge vectors; strictly a function of vectors, indices and types."""

    def __init__(self, config: ArchitectureConfig) -> None:
        super().__init__()
        self.config = config
        n_types = len(config.type_names)
        self.edge_cutoffs = EdgeCutoffs(config.cutoff, config.cutoffs_by_types)
        self.scale_shift = ScaleShift(n_types, config.scales_trainable, config.shifts_trainable)
        self.zbl = ZBL(config.atomic_numbers, config.zbl.polynomial_cutoff_p) if config.zbl is not None else None

    @property
    @abstractmethod
    def interaction_range(self) -> float:
        """Largest distance in A over which one atom can influence the energy of another."""

    @property
    @abstractmethod
    def hops(self) -> int:
        """Number of edges between an atom and the farthest that it feels."""

    @property
    def strictly_local(self) -> bool:
        """Whether an atom's energy depends only on the edges centred at it."""
        return self.hops == 1

    @abstractmethod
    def network(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """The learned part (N,), before scale and shift, in the model's precision.

        Edges as long as the cutoff or longer (x >= 1) add exactly zero.
        """

    @abstractmethod
    def features(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Invariants of the last layer (N, F), which the energy is read from, in the model's precision."""

    def set_scales_shifts(
        self, scales: float | Sequence[float] | Tensor, shifts: float | Sequence[float] | Tensor
    ) -> None:
        """Set energy scale and isolated-atom energy (eV), one number or one per type."""
        self.scale_shift.set(scales, shifts)

    @property
    def geometry_key(self) -> tuple[object, ...]:
        """Equal where models see edges alike, so that one may use another's `geometry`."""
        cutoffs = self.config.cutoffs_by_types
        return self.config.cutoff, self.config.dtype, None if cutoffs is None else tuple(map(tuple, cutoffs))

    def geometry(
        self,
        edge_vectors: Tensor,
        edge_index: Tensor,
        atom_types: Tensor,
        seam: Callable[[Tensor], Tensor] | None = None,
    ) -> EdgeGeometry:
        """Of edge vectors (E, 3) in A, neighbour minus centre."""
        vectors = edge_vectors.to(torch.float64)
        distances = (vectors * vectors).sum(dim=1).sqrt()
        directions = (vectors / distances[:, None]).to(self.config.dtype)
        return EdgeGeometry(distances, self.edge_cutoffs(distances, edge_index, atom_types), directions, seam)

    def energies(self, geometry: EdgeGeometry, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Atomic energies (N,) float64 in eV."""
        energies = self.scale_shift(self.network(geometry, edge_index, atom_types), atom_types)
        if self.zbl is None:
            return energies
        return energies + self.zbl(geometry.distances, geometry.x, edge_index, atom_types)

    def forward(self, edge_vectors: Tensor, edge_index: Tensor, atom_types: Tensor) -> Tensor:
        """Atomic energies (N,) float64 in eV.

        edge_vectors (E, 3) in A, neighbour minus centre; edge_index (2, E) int64, centre then neighbour;
        atom_types (N,) int64. Edges longer than the cutoff add exactly zero, to energies and to gradients.
        """
        return self.energies(self.geometry(edge_vectors, edge_index, atom_types), edge_index, atom_types)
