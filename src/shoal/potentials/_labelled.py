"""The labelled face of every potential: requests in, TensorMaps out, by the table of quantities and own rows.

N atoms, S systems, R rows of the values, P properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from shoal.contract import GRADIENTS, OutputRequest, Standard, unit_factor
from shoal.contract.labels import AtomRows, tensor_map
from shoal.neighbors import NeighborList
from shoal.nn.segments import segment_sum
from shoal.potentials._atomic_gradients import AtomicGradients, atomic_gradients
from shoal.potentials._derivatives import system_energies
from shoal.potentials._refusal import check_supported
from shoal.state import SimState

if TYPE_CHECKING:
    from metatensor.torch import TensorMap

    from shoal.potentials.base import EnergyDerivatives, Potential

ENERGIES = ("energy", "energy_ensemble", "energy_uncertainty")
Gradients = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Name of a gradient -> its samples and values."""


@dataclass(frozen=True, eq=False)
class Question:
    """What requests are answered on: a float64 state, its list, atom types, and the atoms that count."""

    state: SimState
    neighbors: NeighborList
    atom_types: torch.Tensor
    rows: AtomRows
    selected: bool

    @cached_property
    def weights(self) -> torch.Tensor | None:
        """(N,) 1 for atoms that count, 0 for others; None if all do."""
        if not self.selected:
            return None
        return self.state.positions.new_zeros(self.state.n_atoms).index_fill(0, self.rows.index, 1.0)

    @cached_property
    def every(self) -> AtomRows:
        """All atoms, whether they count or not."""
        return AtomRows.all_of(self.state) if self.selected else self.rows

    def as_for(self, potential: Potential) -> Question:
        """The same with the pairs within the cutoff of another potential."""
        _, neighbors, _ = potential._prepared(self.state, self.neighbors, self.atom_types)
        return replace(self, neighbors=neighbors)

    def sum(self, atomic: torch.Tensor, exact: bool) -> torch.Tensor:
        """(S, ...) from (N, ...), of the atoms that count."""
        if self.weights is not None:
            counts = (self.weights > 0).reshape(-1, *[1] * (atomic.dim() - 1))
            atomic = torch.where(counts, atomic, 0.0)
        add = system_energies if exact else segment_sum
        return add(atomic, self.state.system_index, self.state.n_systems)

    def samples(self, per_atom: bool) -> torch.Tensor:
        """(R, 2) system and atom, or (S, 1) system."""
        if per_atom:
            return torch.stack([self.rows.system, self.rows.atom], 1)
        return torch.arange(self.state.n_systems, device=self.state.device)[:, None]


def labelled_outputs(
    potential: Potential, requests: Mapping[str, OutputRequest], question: Question, dtype: torch.dtype
) -> dict[str, TensorMap]:
    """The requested quantities; those that are not exact in `dtype`.

    Raises UnsupportedRequestError naming what is served and by whom, InputError for units.
    """
    for name, request in requests.items():
        check_supported(potential, name, request, question.state, question.selected)
    rows = {name: potential.capabilities.row(name) for name in requests}
    each = any(rows[name].name == "energy_ensemble" and r.explicit_gradients for name, r in requests.items())
    energies: dict[int, _Energies] = {}
    out = {}
    for name, request in requests.items():
        quantity, served = rows[name], potential.variant(name)
        own = question if served is potential else question.as_for(served)
        factor = unit_factor(quantity.unit, request.unit or quantity.unit)
        if quantity.name in ENERGIES:
            found = energies.setdefault(id(served), _Energies(served, own, each))
            values, gradients = found.answer(quantity, request)
        else:
            values, gradients = _others(served, quantity, request.sample_kind == "atom", own), {}
        per_length = unit_factor(request.length_unit, "A")
        # products make new tensors: never a buffer, never one that another output holds
        values = values * factor
        out[name] = tensor_map(
            quantity,
            question.samples(request.sample_kind == "atom"),
            values if quantity.exact else values.to(dtype),
            {
                gradient: (rows, slope * (factor * per_length ** -GRADIENTS[gradient].length_power))
                for gradient, (rows, slope) in gradients.items()
            },
        )
    return out


def _others(potential: Potential, quantity: Standard, per_atom: bool, question: Question) -> torch.Tensor:
    """(R, *components, P) of a quantity that is no energy."""
    values = potential.values(quantity.name, question.state, question.neighbors, question.atom_types)
    if "atom" not in quantity.sample_kinds:
        return values
    return values[question.rows.index] if per_atom else question.sum(values, quantity.exact)


class _Energies:
    """Energies of a potential, its ensemble where it has one, and what follows from them: computed once a call."""

    def __init__(self, potential: Potential, question: Question, each: bool) -> None:
        """`each`: gradients are asked for of each member of the ensemble."""
        self.potential, self.question, self.each = potential, question, each

    def answer(self, quantity: Standard, request: OutputRequest) -> tuple[torch.Tensor, Gradients]:
        """Values (R, P) and gradients of one request."""
        per_atom, asked = request.sample_kind == "atom", request.explicit_gradients
        if per_atom:
            members, gradients = self._atomic(False)[self.question.rows.index], self._of_atoms(asked)
        elif "atom" in self.potential.capabilities.quantities["energy"].sample_kinds:
            members, gradients = self.question.sum(self._atomic(bool(asked)), exact=True), self._of_systems(asked)
        else:
            members, gradients = self._whole(bool(asked)), self._of_systems(asked)
        if quantity.name == "energy_ensemble":
            return members, gradients
        if quantity.name == "energy_uncertainty":
            # of no rows torch's std warns
            return members.std(dim=-1, keepdim=True) if len(members) else members[:, :1], {}
        means = {name: (rows, slope.mean(dim=-1, keepdim=True)) for name, (rows, slope) in gradients.items()}
        return members.mean(dim=-1, keepdim=True), means

    def _atomic(self, differentiated: bool) -> torch.Tensor:
        """(N, P); from the pass that gives the gradients too, unless the caller differentiates."""
        state = self.question.state
        leaves = (state.positions, state.cell, *self.potential.parameters())
        attached = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
        if attached or not differentiated:
            return self._attached
        native = self._native.atomic_energy
        assert native is not None
        return native

    def _whole(self, differentiated: bool) -> torch.Tensor:
        """(S, P) of a potential without atomic energies, which may have no forces either."""
        if differentiated:
            return self._native.energy
        q = self.question
        return self.potential.compute(q.state, q.neighbors, q.atom_types)["energy"][:, None]

    @cached_property
    def _attached(self) -> torch.Tensor:
        return self.potential.energies(self.question.state, self.question.neighbors, self.question.atom_types)

    @cached_property
    def _native(self) -> EnergyDerivatives:
        q = self.question
        return self.potential.energy_derivatives(q.state, q.neighbors, q.atom_types, q.weights, each=self.each)

    @cached_property
    def _rows(self) -> AtomicGradients:
        q = self.question
        return atomic_gradients(self.potential, q.state, q.neighbors, q.atom_types, q.rows.index, each=self.each)

    def _of_systems(self, names: tuple[str, ...]) -> Gradients:
        every = self.question.every
        found: Gradients = {}
        if "positions" in names:
            samples = torch.stack([every.system, every.system, every.atom], 1)
            found["positions"] = (samples, self._native.positions_gradient)
        if "strain" in names:
            found["strain"] = (self.question.samples(per_atom=False), self._native.strain_gradient)
        return {name: found[name] for name in names}

    def _of_atoms(self, names: tuple[str, ...]) -> Gradients:
        every = self.question.every
        found: Gradients = {}
        if "positions" in names:
            moved = self._rows.atom
            samples = torch.stack([self._rows.row, every.system[moved], every.atom[moved]], 1)
            found["positions"] = (samples, self._rows.positions)
        if "strain" in names:
            slopes = self._rows.strain
            found["strain"] = (torch.arange(len(slopes), device=slopes.device)[:, None], slopes)
        return {name: found[name] for name in names}
