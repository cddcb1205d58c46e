"""What every potential is: (state, neighbours, request) -> quantities.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from shoal.contract import (
    DEFAULT_OUTPUTS,
    QUANTITIES,
    Capabilities,
    OutputRequest,
    check_outputs,
)
from shoal.contract.labels import AtomRows
from shoal.errors import InputError
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials._heat_flux import heat_flux, unfolded_flux
from shoal.potentials._labelled import Question, labelled_outputs
from shoal.potentials._rows import RowFunction
from shoal.state import SimState, TypeMap

if TYPE_CHECKING:
    from metatensor.torch import Labels, TensorMap


class EnergyDerivatives(NamedTuple):
    """energy (S, P) and atomic_energy (N, P) eV, None without such; gradients (N, 3, Q) eV/A and (S, 3, 3, Q) eV.

    Q is 1, or P where the gradients of each property are asked for.
    """

    energy: torch.Tensor
    atomic_energy: torch.Tensor | None
    positions_gradient: torch.Tensor
    strain_gradient: torch.Tensor

    @classmethod
    def of(cls, quantities: Mapping[str, torch.Tensor]) -> EnergyDerivatives:
        """Of one property, from what `Potential.compute` gives."""
        return cls(
            quantities["energy"][:, None],
            quantities["atomic_energy"][:, None] if "atomic_energy" in quantities else None,
            -quantities["forces"][..., None],
            -quantities["virial"][..., None],
        )


class Potential(nn.Module, ABC):
    """A function of a packed state that gives energies and what follows from them.

    `cutoff` A: pairs within it must be in the neighbour list. `type_names`: its atom types, by index.
    `species_map`: chemical symbol -> type name as the model itself declares it, None if it declares none.
    `skips_far_pairs`: `compute` itself leaves out pairs beyond the cutoff, so that a list with skin serves as it is.
    """

    cutoff: float
    type_names: tuple[str, ...]
    species_map: Mapping[str, str] | None = None
    skips_far_pairs = False

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this potential can give and what it claims."""

    @abstractmethod
    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Every quantity it can give, by its name in `shoal.contract.QUANTITIES`; float64, on the state's device.

        What `forward` has checked and converted: a float64 state, its list with pairs within the cutoff only, atom
        types (N,) int64. Pairs beyond the cutoff come along where it `skips_far_pairs`. With `energy_weights` (N,)
        forces, stress and virial are those of sum_i w_i E_i instead of sum_i E_i; energies are not weighted. Raises
        UnsupportedRequestError if it cannot serve them.
        """

    def only(
        self,
        names: Sequence[str],
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """At the least those quantities of `compute` that are named, where it can without the cost of the others."""
        return self.compute(state, neighbors, atom_types, energy_weights)

    def by_geometry(
        self, names: Sequence[str], state: SimState, atom_types: torch.Tensor
    ) -> dict[str, torch.Tensor] | None:
        """The same without a list, where one call finds the pairs and evaluates them; None where it cannot."""
        return None

    @property
    def device(self) -> torch.device:
        """Where its parameters live; the CPU for a potential without any."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    def type_map(self, argument: object = None) -> TypeMap:
        """Its TypeMap from the public argument `chemical_species_to_atom_type_map` (TypeMap.from_argument)."""
        return TypeMap.from_argument(self.type_names, argument, stored=self.species_map)

    def forward(
        self,
        state: SimState,
        neighbors: NeighborList,
        outputs: Iterable[str] = DEFAULT_OUTPUTS,
        *,
        atom_types: torch.Tensor | None = None,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The requested quantities of a state, in its dtype; energies always float64.

        `outputs`: names of `shoal.contract.QUANTITIES`. `atom_types` (N,) int64, by default from the potential's
        own TypeMap. `energy_weights` (N,): derivatives are those of sum_i w_i E_i. Raises UnsupportedRequestError,
        UnsupportedSpeciesError, and InputError for a neighbour list that is too short or of another state.
        """
        names = check_outputs(outputs, self.capabilities.outputs, type(self).__name__)
        exact, neighbors, types = self._prepared(state, neighbors, atom_types, cut=not self.skips_far_pairs)
        if energy_weights is not None and tuple(energy_weights.shape) != (state.n_atoms,):
            raise InputError(f"energy_weights must have shape ({state.n_atoms},), got {tuple(energy_weights.shape)}")
        return _in_dtype(names, self.only(names, exact, neighbors, types, energy_weights), state.dtype)

    def of_state(
        self,
        state: SimState,
        outputs: Iterable[str] = DEFAULT_OUTPUTS,
        *,
        atom_types: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """`forward` of a state whose neighbour list is made for this call alone.

        Raises what `forward` and `neighbor_list` raise.
        """
        names = check_outputs(outputs, self.capabilities.outputs, type(self).__name__)
        types = self.type_map()(state) if atom_types is None else atom_types
        values = self.by_geometry(names, state, types)
        if values is None:
            return self(state, neighbor_list(state, self.cutoff), names, atom_types=types)
        return _in_dtype(names, values, state.dtype)

    def outputs(
        self,
        state: SimState,
        requests: Mapping[str, OutputRequest],
        selected_atoms: Labels | None = None,
        neighbors: NeighborList | None = None,
        atom_types: torch.Tensor | None = None,
    ) -> dict[str, TensorMap]:
        """The requested quantities with their labels, as real metatensor TensorMaps.

        `requests`: names of `shoal.contract.STANDARD`, variants such as `energy/<name>`, or those for which the
        capabilities bring a layout, `domain::name`. `selected_atoms`: Labels "system" and "atom"; only these count, in
        their order. `neighbors` and `atom_types` (N,) are made where they are not given. Values of eager potentials
        carry the caller's graph in positions, cell and parameters, twice
        differentiable; explicit gradients are numbers. Energies and heat fluxes are float64, the others of the
        state's dtype. Raises UnsupportedRequestError, UnsupportedSpeciesError, and InputError.
        """
        if neighbors is None:
            neighbors = neighbor_list(state, self.cutoff)
        exact, neighbors, types = self._prepared(state, neighbors, atom_types)
        rows = AtomRows.all_of(exact) if selected_atoms is None else AtomRows.selected(selected_atoms, exact)
        question = Question(exact, neighbors, types, rows, selected_atoms is not None)
        return labelled_outputs(self, requests, question, state.dtype)

    @property
    def has_kernels(self) -> bool:
        """Whether C++ kernels give its quantities here."""
        return False

    def by_rows(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> RowFunction | None:
        """The same quantities as a function of positions and cells alone, by C++ kernels, while the list lasts.

        State, list and types as `compute` takes them. None where there are no such kernels.
        """
        return None

    def energies(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        """Atomic energies (N, P) eV, one property or one for each member of an ensemble; the caller's graph is kept.

        State, list and types as `compute` takes them.
        """
        return self.only(("atomic_energy",), state, neighbors, atom_types)["atomic_energy"][:, None]

    def energy_derivatives(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        each: bool = False,
    ) -> EnergyDerivatives:
        """Energies by each member of an ensemble, and the gradients of sum_i w_i E_i: of each, or of their mean."""
        return EnergyDerivatives.of(self.compute(state, neighbors, atom_types, energy_weights))

    def values(self, name: str, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        """A labelled quantity that is no energy, its rows those of atoms where it can have them.

        Shape (rows, *components, P), as `compute` returns it or without the last axis.
        """
        if name == "heat_flux":
            return heat_flux(self, state, neighbors, atom_types)[..., None]
        values = self.compute(state, neighbors, atom_types)[name]
        return values[..., None] if values.dim() == 1 + len(self.capabilities.row(name).components) else values

    def potential_heat_flux(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        """sum_ij (r_i - r_j) (dE_i/dr_j . v_j), (S, 3) eV A/fs."""
        return unfolded_flux(self, state, atom_types)

    def variant(self, name: str) -> Potential:
        """The potential that gives a quantity or its variant `energy/<name>`."""
        return self

    def _prepared(
        self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor | None, *, cut: bool = True
    ) -> tuple[SimState, NeighborList, torch.Tensor]:
        """The state in float64, its list, if `cut` at the cutoff, and its atom types; the list must be its own."""
        if neighbors.cutoff < self.cutoff:
            raise InputError(f"the neighbour list ends at {neighbors.cutoff} A, the potential reaches {self.cutoff} A")
        n_atoms, n_systems = neighbors.positions.shape[0], neighbors.cell.shape[0]
        if n_atoms != state.n_atoms or n_systems != state.n_systems:
            raise InputError(
                f"the neighbour list is of {n_atoms} atoms in {n_systems} systems, "
                f"the state has {state.n_atoms} in {state.n_systems}"
            )
        _check_same("system_index", neighbors.system_index, state.system_index)
        _check_same("pbc", neighbors.pbc, state.pbc)
        types = self.type_map()(state) if atom_types is None else atom_types
        if types.shape != (n_atoms,):
            raise InputError(f"atom_types must have shape ({n_atoms},), got {tuple(types.shape)}")
        exact = state.to(dtype=torch.float64)
        if cut and neighbors.cutoff + neighbors.skin > self.cutoff:
            neighbors = neighbors.within(self.cutoff, exact.positions, exact.cell)
        return exact, neighbors, types


def _check_same(name: str, own: torch.Tensor, its: torch.Tensor) -> None:
    if own is not its and not torch.equal(own, its):
        raise InputError(f"the neighbour list is of another state: its {name} is another")


def _in_dtype(names: Sequence[str], values: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    if dtype == torch.float64 and len(values) == len(names):
        return dict(values)
    return {
        name: values[name] if dtype == torch.float64 or QUANTITIES[name].exact else values[name].to(dtype)
        for name in names
    }
