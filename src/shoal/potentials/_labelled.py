"""The labelled face of every potential: requests in, TensorMaps out, by the table of quantities.

N atoms, S systems, R rows of the values, P properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from shoal.contract import GRADIENTS, OutputRequest, Standard, Support, current_name, standard, unit_factor
from shoal.contract.labels import Rows, tensor_map
from shoal.errors import UnsupportedRequestError
from shoal.neighbors import NeighborList
from shoal.nn.segments import segment_sum
from shoal.potentials._derivatives import system_energies
from shoal.state import SimState

if TYPE_CHECKING:
    from metatensor.torch import TensorMap

    from shoal.potentials.base import Potential


@dataclass(frozen=True, eq=False)
class Frame:
    """What a request is answered on: a float64 state, its list, atom types, and the atoms that count."""

    state: SimState
    neighbors: NeighborList
    atom_types: torch.Tensor
    rows: Rows
    selected: bool

    @property
    def weights(self) -> torch.Tensor | None:
        """(N,) 1 for selected atoms, 0 for others; None if all count."""
        if not self.selected:
            return None
        return self.state.positions.new_zeros(self.state.n_atoms).index_fill(0, self.rows.index, 1.0)

    def systems(self) -> torch.Tensor:
        return torch.arange(self.state.n_systems, device=self.state.device)


def labelled_outputs(
    potential: Potential, requests: Mapping[str, OutputRequest], frame: Frame, dtype: torch.dtype
) -> dict[str, TensorMap]:
    """The requested quantities of a frame; what is not exact comes in `dtype`.

    Raises UnsupportedRequestError naming what is served and by whom, InputError for units.
    """
    for name, request in requests.items():
        _check(potential, name, request, frame)
    return {name: _answer(potential, name, request, frame, dtype) for name, request in requests.items()}


def _answer(potential: Potential, name: str, request: OutputRequest, frame: Frame, dtype: torch.dtype) -> TensorMap:
    quantity, per_atom = standard(name), request.sample_kind == "atom"
    served = potential.variant(name)
    values = _values(served, quantity, per_atom, frame)
    raw = {}
    factor = unit_factor(quantity.unit, request.unit or quantity.unit)
    gradients = {
        gradient: (
            rows,
            derivatives * (factor * unit_factor("A", request.length_unit) ** GRADIENTS[gradient].length_power),
        )
        for gradient, (rows, derivatives) in raw.items()
    }
    samples = torch.stack([frame.rows.system, frame.rows.atom], 1) if per_atom else frame.systems()[:, None]
    values = values * factor  # a new tensor always: never a buffer, never one that another output holds
    return tensor_map(quantity, samples, values if quantity.exact else values.to(dtype), gradients)


def _values(potential: Potential, quantity: Standard, per_atom: bool, frame: Frame) -> torch.Tensor:
    """(R, *components, P)."""
    atomic = potential.atomic_values(quantity.name, frame.state, frame.neighbors, frame.atom_types)
    if per_atom:
        return atomic[frame.rows.index]
    return _summed(atomic, quantity, frame)


def _summed(atomic: torch.Tensor, quantity: Standard, frame: Frame) -> torch.Tensor:
    """(S, *components, P), of the atoms that count."""
    if frame.weights is not None:
        counts = (frame.weights > 0).reshape(-1, *[1] * (atomic.dim() - 1))
        atomic = torch.where(counts, atomic, 0.0)
    total = system_energies if quantity.exact else segment_sum
    return total(atomic, frame.state.system_index, frame.state.n_systems)


def _check(potential: Potential, name: str, request: OutputRequest, frame: Frame) -> None:
    """Refuse what the potential does not serve, naming what can."""
    quantity, offered = standard(name), potential.capabilities.quantities
    who = type(potential).__name__

    def refuse(what: str) -> None:
        raise UnsupportedRequestError(
            f"{who} cannot give {what}; it gives {', '.join(map(_described, offered.items())) or 'nothing labelled'}. "
            f"{quantity.name} is given by {quantity.served_by}"
        )

    support = offered.get(current_name(name))
    if support is None:
        return refuse(repr(name))
    if request.sample_kind not in support.sample_kinds:
        refuse(f"{name} per {request.sample_kind}")
    for gradient in request.explicit_gradients:
        if gradient not in support.explicit_gradients.get(request.sample_kind, ()):
            refuse(f"the explicit gradient {gradient!r} of {name} per {request.sample_kind}")
    if frame.selected and not support.selected_atoms:
        refuse(f"{name} of selected atoms")
    attached = torch.is_grad_enabled() and (frame.state.positions.requires_grad or frame.state.cell.requires_grad)
    if attached and not support.differentiable:
        refuse(f"{name} that its caller differentiates (positions or cell require a gradient)")
    return None


def _described(entry: tuple[str, Support]) -> str:
    name, support = entry
    kinds = []
    for kind in support.sample_kinds:
        gradients = " and ".join(support.explicit_gradients.get(kind, ()))
        kinds.append(f"per {kind}" + (f" with {gradients} gradients" if gradients else ""))
    limits = [] if support.selected_atoms else ["no selection"]
    limits += [] if support.differentiable else ["not differentiable"]
    return f"{name} ({'; '.join([*kinds, *limits])})"
