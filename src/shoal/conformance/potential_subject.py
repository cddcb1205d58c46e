"""A Potential under judgement: structures are packed by hand here, and results taken apart by hand.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.subject import Malformed, Species, Subject, Values
from shoal.contract import QUANTITIES, OutputRequest
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials import Potential
from shoal.state import SimState, TypeMap

if TYPE_CHECKING:
    from ase import Atoms
    from metatensor.torch import Labels, TensorMap

_NATIVE = ("energy", "forces", "stress", "virial", "atomic_energy")


class PotentialSubject(Subject):
    """A potential with the type map it is used with; `reference`: structures and results that its file carries."""

    batches = True

    def __init__(self, potential: Potential, type_map: TypeMap, name: str) -> None:
        self.potential = potential
        self.type_map = type_map
        self.name = name
        self.capabilities = potential.capabilities
        self.dtype = self.capabilities.dtype
        self.cutoff = potential.cutoff
        self.interaction_range = self.capabilities.interaction_range
        self.ours = type(potential).__module__.startswith("shoal.")
        self.species = _species(type_map)
        self.reference: list[tuple[Atoms, Values]] = []
        self.outputs = tuple(name for name in _NATIVE if name in self.capabilities.outputs)

    def gives(self, name: str) -> bool:
        return ("virial" if name == "strain_gradient" else name) in self.outputs

    def evaluate(self, structures: Sequence[Atoms]) -> list[Values]:
        state = self.pack(structures)
        return unpack(self.run(state), [len(atoms) for atoms in structures])

    def pack(
        self, structures: Sequence[Atoms], dtype: torch.dtype = torch.float64, *, with_velocities: bool = False
    ) -> SimState:
        """One state on the potential's device; velocities of a few times 0.01 A/fs for what needs them."""
        rows = {
            "positions": torch.tensor(_joined([a.positions for a in structures], (0, 3)), dtype=dtype),
            "atomic_numbers": torch.tensor(_joined([a.numbers for a in structures], (0,)), dtype=torch.int64),
        }
        cell = np.array([a.cell.array for a in structures], dtype=float).reshape(-1, 3, 3)
        labels = [a.arrays.get("type_label", np.full(len(a), "")) for a in structures]
        labelled = any(label.any() for label in labels)
        device = self.potential.device
        if with_velocities:
            speeds = np.random.default_rng(8).normal(0, 0.02, rows["positions"].shape)
            rows["velocities"] = torch.tensor(speeds, dtype=dtype)
        optional = {"type_label": np.concatenate(labels)} if labelled else {}
        return SimState.build(
            **{name: value.to(device) for name, value in rows.items()},
            n_atoms=[len(a) for a in structures],
            cell=torch.tensor(cell, dtype=dtype, device=device),
            pbc=torch.tensor(np.array([a.pbc for a in structures]).reshape(-1, 3), dtype=torch.bool, device=device),
            **optional,  # type: ignore[arg-type]
        )

    def run(
        self,
        state: SimState,
        neighbors: NeighborList | None = None,
        outputs: Iterable[str] | None = None,
        weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The potential's own answer for a state."""
        types = self.type_map(state)
        pairs = neighbor_list(state, self.cutoff) if neighbors is None else neighbors
        asked = self.outputs if outputs is None else outputs
        return self.potential(state, pairs, asked, atom_types=types, energy_weights=weights)

    def outputs_of(
        self,
        state: SimState,
        requests: Mapping[str, OutputRequest],
        selected_atoms: Labels | None = None,
        neighbors: NeighborList | None = None,
        atom_types: torch.Tensor | None = None,
    ) -> dict[str, TensorMap]:
        """The potential's labelled answer for a state."""
        types = self.type_map(state) if atom_types is None else atom_types
        pairs = neighbor_list(state, self.cutoff) if neighbors is None else neighbors
        return self.potential.outputs(state, requests, selected_atoms, neighbors=pairs, atom_types=types)


def unpack(results: dict[str, torch.Tensor], sizes: Sequence[int]) -> list[Values]:
    """Values of each structure. Raises Malformed when rows do not match."""
    ends = np.cumsum([0, *sizes])
    rows = {"atom": int(ends[-1]), "system": len(sizes)}
    separate: list[dict[str, np.ndarray]] = [{} for _ in sizes]
    for name, tensor in results.items():
        quantity = QUANTITIES[name]
        expected = (rows[quantity.scope], *quantity.shape)
        if tuple(tensor.shape) != expected:
            raise Malformed(f"{name} has shape {tuple(tensor.shape)} where {expected} was due")
        array = tensor.detach().to(torch.float64).cpu().numpy().copy()
        for s, values in enumerate(separate):
            values[name] = array[ends[s] : ends[s + 1]] if quantity.scope == "atom" else array[s]
    for values in separate:
        if "virial" in values:
            values["strain_gradient"] = -values["virial"]
    return list(separate)


def _joined(arrays: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(empty)


def _species(type_map: TypeMap) -> tuple[Species, ...]:
    """One way to reach every type: by its first element, else by its name as a label."""
    by_type: dict[str, Species] = {}
    for symbol, name in type_map.species.items():
        by_type.setdefault(name, Species(symbol))
    return tuple(by_type.get(name, Species("C", name)) for name in type_map.type_names)
