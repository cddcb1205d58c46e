"""The sum of several potentials, evaluated on one shared neighbour list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import torch
from torch import nn

from shoal.contract import QUANTITIES, Capabilities, Support
from shoal.errors import InputError
from shoal.neighbors import NeighborList
from shoal.potentials._rows import RowFunction, RowValues
from shoal.potentials.base import EnergyDerivatives, Potential
from shoal.state import SimState


class Sum(Potential):
    """sum_k V_k; knows the types that every term knows, matched by name, and reaches as far as the farthest term.

    Raises InputError without terms or when they share no type.
    """

    def __init__(self, *terms: Potential) -> None:
        super().__init__()
        if not terms:
            raise InputError("a Sum needs at least one potential")
        common = [name for name in terms[0].type_names if all(name in term.type_names for term in terms)]
        if not common:
            raise InputError(f"the terms share no atom type: {[term.type_names for term in terms]}")
        self.terms = nn.ModuleList(terms)
        self.type_names = tuple(common)
        self.cutoff = max(term.cutoff for term in terms)
        self.skips_far_pairs = True  # terms see to it themselves
        maps = [term.species_map for term in terms]
        if all(m is not None for m in maps):
            self.species_map = {
                symbol: name
                for symbol, name in (maps[0] or {}).items()
                if name in common and all((m or {}).get(symbol) == name for m in maps)
            }
        for k, term in enumerate(terms):
            index = torch.tensor([term.type_names.index(name) for name in common], dtype=torch.int64)
            self.register_buffer(f"types_{k}", index, persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        each = [term.capabilities for term in self._potentials]
        return Capabilities(
            outputs=tuple(name for name in QUANTITIES if all(name in c.outputs for c in each)),
            quantities=_common([c.quantities for c in each]),
            atomic_types=self.type_names,
            **Capabilities.claims_of(each),
        )

    @property
    def types_of_terms(self) -> list[torch.Tensor]:
        """For each term its type index by the sum's."""
        return [getattr(self, f"types_{k}") for k in range(len(self.terms))]

    @property
    def _potentials(self) -> list[Potential]:
        return list(self.terms)  # type: ignore[arg-type]

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        outputs = self.capabilities.outputs
        total: dict[str, torch.Tensor] = {}
        for term, types in zip(self._potentials, self.types_of_terms, strict=True):
            values = term(state, neighbors, outputs, atom_types=types[atom_types], energy_weights=energy_weights)
            total = {name: total[name] + values[name] if total else values[name] for name in outputs}
        return total

    @property
    def has_kernels(self) -> bool:
        return all(term.has_kernels for term in self._potentials)

    def by_rows(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> RowFunction | None:
        parts = []
        for term, types in zip(self._potentials, self.types_of_terms, strict=True):
            parts.append(term.by_rows(state, neighbors, types[atom_types], energy_weights))
        if None in parts:
            return None

        def evaluate(positions: torch.Tensor, cell: torch.Tensor, strain: bool = True) -> RowValues:
            values = (part(positions, cell, strain) for part in parts if part is not None)
            return RowValues(*(reduce(torch.add, each) for each in zip(*values, strict=True)))

        return evaluate

    def energies(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        parts = [term.energies(*prepared) for term, prepared in self._each(state, neighbors, atom_types)]
        return reduce(torch.add, parts)

    def energy_derivatives(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        each: bool = False,
    ) -> EnergyDerivatives:
        parts = [
            term.energy_derivatives(*prepared, energy_weights, each=each)
            for term, prepared in self._each(state, neighbors, atom_types)
        ]
        atomic = [part.atomic_energy for part in parts if part.atomic_energy is not None]
        return EnergyDerivatives(
            reduce(torch.add, [part.energy for part in parts]),
            reduce(torch.add, atomic) if len(atomic) == len(parts) else None,
            reduce(torch.add, [part.positions_gradient for part in parts]),
            reduce(torch.add, [part.strain_gradient for part in parts]),
        )

    def potential_heat_flux(self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor) -> torch.Tensor:
        return reduce(
            torch.add,
            [term.potential_heat_flux(*prepared) for term, prepared in self._each(state, neighbors, atom_types)],
        )

    def _each(
        self, state: SimState, neighbors: NeighborList, atom_types: torch.Tensor
    ) -> Iterator[tuple[Potential, tuple[SimState, NeighborList, torch.Tensor]]]:
        """Every term with state, list and types as it takes them."""
        for term, types in zip(self._potentials, self.types_of_terms, strict=True):
            yield term, term._prepared(state, neighbors, types[atom_types])


def _common(each: Sequence[Mapping[str, Support]]) -> dict[str, Support]:
    """What all terms give; an ensemble if one of them has it, since the others shift all its members alike."""
    served = {name: reduce(Support.both, [q[name] for q in each]) for name in each[0] if all(name in q for q in each)}
    served = {name: support for name, support in served.items() if name in ("energy", "heat_flux")}
    ensembles = [q for q in each if "energy_ensemble" in q]
    if "energy" in served and len(ensembles) == 1:
        for name in ("energy_ensemble", "energy_uncertainty"):
            served[name] = served["energy"].both(ensembles[0][name])
    return served
