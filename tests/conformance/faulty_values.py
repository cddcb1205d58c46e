"""Potentials whose values are wrong, and the sound one that all mutants are made of.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from metatensor.torch import TensorMap

from shoal.contract import BOTH, Capabilities, Support
from shoal.neighbors import NeighborList
from shoal.nn.segments import segment_sum
from shoal.potentials import Graph, LennardJones, Potential
from shoal.state import SimState

PARAMETERS = {"Ar": (0.8, 2.3), "Kr": (1.1, 2.6)}
CUTOFF = 5.6
Values = dict[str, torch.Tensor]


class Sound(LennardJones):
    """Without a fault: what every mutant is but for its own."""

    def __init__(self, truncation: str = "switch") -> None:
        super().__init__(PARAMETERS, CUTOFF, truncation)  # type: ignore[arg-type]

    def compute(self, *arguments: Any, **more: Any) -> Values:
        return self.spoil(super().compute(*arguments, **more), arguments[0], arguments[1])

    def spoil(self, values: Values, state: SimState, neighbors: NeighborList) -> Values:
        return values


def spoiling(change: Callable[[Values, SimState, NeighborList], Any]) -> Callable[[], Potential]:
    """A potential whose native values go through `change`, which returns those that differ."""

    class Spoilt(Sound):
        def spoil(self, values: Values, state: SimState, neighbors: NeighborList) -> Values:
            return {**values, **(change(values, state, neighbors) or {})}

    return Spoilt


def with_term(term: Callable[[Graph, torch.Tensor], torch.Tensor]) -> type[Sound]:
    """A potential with another term (N,) in its atomic energies, of the graph and a smooth weight (E,) of each edge."""

    class WithTerm(Sound):
        def atomic_energies(self, graph: Graph) -> torch.Tensor:
            x = (graph.edge_vectors.square().sum(1) / CUTOFF**2).clamp(max=1.0)
            return super().atomic_energies(graph) + term(graph, (1 - x) ** 4)

    return WithTerm


def mixed_up(values: Values, state: SimState, _: NeighborList) -> Values:
    return {"forces": torch.cat([part.flip(0) for part in values["forces"].split(state.n_atoms_per_system.tolist())])}


def nan_of_slabs(values: Values, state: SimState, _: NeighborList) -> Values:
    slab = state.pbc.sum(1) == 2
    return {"forces": torch.where(slab[state.system_index][:, None], float("nan"), values["forces"])}


def nan_of_lone_atoms(values: Values, state: SimState, neighbors: NeighborList) -> Values:
    lone = torch.bincount(neighbors.edge_index[0], minlength=state.n_atoms) == 0
    return {"forces": torch.where(lone[:, None], float("nan"), values["forces"])}


def rounded(values: Values, state: SimState, _: NeighborList) -> Values:
    """Reference energies of -20,000 eV an atom are added in single precision."""
    reference = -2e4 * state.n_atoms_per_system.to(torch.float32)
    return {
        "energy": (values["energy"].float() + reference).double(),
        "atomic_energy": (values["atomic_energy"].float() - 2e4).double(),
    }


def weakened(values: Values, state: SimState, neighbors: NeighborList) -> Values:
    """Forces off by some percent, by how many neighbours an atom has."""
    r = neighbors.edge_vectors(state.positions, state.cell).norm(dim=1)
    crowd = segment_sum((1 - (r / CUTOFF) ** 2).clamp(min=0) ** 3, neighbors.edge_index[0], state.n_atoms)
    return {"forces": values["forces"] * (1 + 0.04 * torch.sin(3 * crowd))[:, None]}


def hidden(values: Values, state: SimState, _: NeighborList) -> Values:
    """Energies of atoms are off by 1e-6 eV beside reference energies of -20,000 eV."""
    reference = -2e4 * state.n_atoms_per_system.to(torch.float64)
    return {"energy": values["energy"] + reference, "atomic_energy": values["atomic_energy"] - 2e4 + 1e-6}


def rolled_volumes(values: Values, state: SimState, _: NeighborList) -> Values:
    """The stress of a system has the volume of the one before it in the batch."""
    volumes = state.cell.det().abs()
    return {"stress": values["stress"] * (volumes / volumes.roll(1))[:, None, None]}


class EnergiesOfSystems(Sound):
    """Tells no energies of atoms."""

    @property
    def capabilities(self) -> Capabilities:
        whole = Support(sample_kinds=("system",), explicit_gradients={"system": BOTH["system"]}, selected_atoms=False)
        outputs = ("energy", "forces", "stress", "virial")
        return super().capabilities.model_copy(update={"outputs": outputs, "quantities": {"energy": whole}})


def leaking(values: Values, state: SimState, _: NeighborList) -> Values:
    """The mean over the whole batch is taken off, and that of a single system put back."""
    if state.n_systems < 2:
        return {}
    return {"energy": values["energy"] + 1e-8 * values["energy"].mean()}


def columns_for_rows(values: Values, state: SimState, neighbors: NeighborList) -> Values:
    """Strains the lattice vectors as if they were columns: right for symmetric cells only."""
    potential = LennardJones(PARAMETERS, CUTOFF)
    with torch.enable_grad():
        cell = state.cell.clone().requires_grad_(True)
        types = (state.atomic_numbers == 36).to(torch.int64)
        graph = Graph(neighbors.edge_vectors(state.positions, cell), neighbors.edge_index, types, state.system_index)
        (by_cell,) = torch.autograd.grad(potential.atomic_energies(graph).sum(), cell)
    wrong = state.cell @ by_cell.transpose(1, 2) - state.cell.transpose(1, 2) @ by_cell
    return {"virial": values["virial"] - wrong}


def counted_cells(values: Values, state: SimState, _: NeighborList) -> Values:
    """An atom that is not wrapped costs energy, constant while it stays in its cell."""
    whole = torch.linalg.lstsq(state.cell.transpose(1, 2)[state.system_index], state.positions[:, :, None]).solution
    full = state.pbc.all(1)[state.system_index]
    cost = torch.where(full, 1e-4 * torch.floor(whole[:, :, 0] + 0.013).abs().sum(1), 0.0)
    return {"energy": values["energy"] + torch.zeros_like(values["energy"]).index_add(0, state.system_index, cost)}


class FirstAtomIsHeavy(Sound):
    """The first atom of a system has more energy, and its neighbours with it."""

    def compute(self, state: SimState, neighbors: NeighborList, *more: Any, **named: Any) -> Values:
        self.first = state.offsets[:-1][state.n_atoms_per_system > 0]
        return super().compute(state, neighbors, *more, **named)

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        weights = torch.ones(graph.n_atoms, dtype=torch.float64).index_fill(0, self.first, 1.01)
        return super().atomic_energies(graph) * weights

    def outputs(self, state: SimState, *more: Any, **named: Any) -> dict[str, TensorMap]:
        self.first = state.offsets[:-1][state.n_atoms_per_system > 0]
        return super().outputs(state, *more, **named)


def field(graph: Graph, weight: torch.Tensor) -> torch.Tensor:
    """Bonds along x are stronger."""
    return segment_sum(weight * graph.edge_vectors[:, 0] ** 2, graph.edge_index[0], graph.n_atoms)


def handed(graph: Graph, weight: torch.Tensor) -> torch.Tensor:
    """A triple product: the same however it is turned, another in a mirror."""
    a, b, c = (
        segment_sum(graph.edge_vectors * (weight**k)[:, None], graph.edge_index[0], graph.n_atoms) for k in (1, 2, 3)
    )
    return (torch.linalg.cross(a, b) * c).sum(1)


def second_layer(graph: Graph, weight: torch.Tensor) -> torch.Tensor:
    """The neighbours' own coordination counts: twice the declared range."""
    i, j = graph.edge_index
    crowd = segment_sum(weight, i, graph.n_atoms)
    return 0.01 * segment_sum(weight * crowd[j], i, graph.n_atoms)


def jump(graph: Graph, weight: torch.Tensor) -> torch.Tensor:
    """A step of one meV where the switch begins."""
    near = graph.edge_vectors.square().sum(1) < 4.48**2
    return 1e-3 * segment_sum(near.to(weight), graph.edge_index[0], graph.n_atoms) + 0 * weight.sum()


def kink(graph: Graph, weight: torch.Tensor) -> torch.Tensor:
    """The force, not the energy, steps by half a meV/A at 4 A."""
    beyond = (graph.edge_vectors.norm(dim=1) - 4.0).clamp(min=0)
    return 1e-2 * segment_sum(beyond * weight, graph.edge_index[0], graph.n_atoms)


class NotExtensive(Sound):
    """Energy and forces, and with them everything, depend on how many atoms there are."""

    def spoil(self, values: Values, state: SimState, _: NeighborList) -> Values:
        factor = 1 + 1e-3 / state.n_atoms_per_system.to(torch.float64).clamp(min=1)
        per_atom = factor[state.system_index]
        return {
            name: value
            * (per_atom if value.shape[0] == state.n_atoms and name in ("forces", "atomic_energy") else factor).reshape(
                -1, *[1] * (value.dim() - 1)
            )
            for name, value in values.items()
        }

    @property
    def capabilities(self) -> Capabilities:
        return super().capabilities.model_copy(update={"quantities": {}})


class Anchored(Sound):
    """A weak spring ties every atom to the origin."""

    def spoil(self, values: Values, state: SimState, _: NeighborList) -> Values:
        spring = 1e-5 * state.positions.square().sum(1)
        return {
            **values,
            "energy": values["energy"] + torch.zeros_like(values["energy"]).index_add(0, state.system_index, spring),
            "atomic_energy": values["atomic_energy"] + spring,
            "forces": values["forces"] - 2e-5 * state.positions,
        }
