"""Refusing what a potential does not serve, in words that say what it serves and which one serves the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from shoal.contract import OutputRequest, Standard, Support, current_name
from shoal.errors import UnsupportedRequestError
from shoal.state import SimState

if TYPE_CHECKING:
    from shoal.potentials.base import Potential


def check_supported(potential: Potential, name: str, request: OutputRequest, state: SimState, selected: bool) -> None:
    """Raises UnsupportedRequestError for a quantity, or a form of it, that the capabilities do not list."""
    capabilities = potential.capabilities
    offered = capabilities.quantities
    support, quantity = offered.get(current_name(name)), capabilities.row(name)
    if support is None:
        refused = repr(name)
    else:
        refused = _undefined(quantity, name, request, selected) or _refused(support, name, request, state, selected)
    if refused:
        gives = ", ".join(_described(*entry) for entry in offered.items()) or "nothing with labels"
        raise UnsupportedRequestError(
            f"{type(potential).__name__} cannot give {refused}; it gives {gives}. "
            f"{quantity.name} is given by {quantity.served_by}"
        )


def _undefined(quantity: Standard, name: str, request: OutputRequest, selected: bool) -> str:
    """What of a request the table of quantities does not know, whatever a potential declares; empty if all is."""
    if request.sample_kind not in quantity.sample_kinds:
        return f"{name} per {request.sample_kind}"
    for gradient in request.explicit_gradients:
        if gradient not in quantity.gradients:
            return f"the explicit gradient {gradient!r} of {name}"
    return f"{name} of selected atoms" if selected and "atom" not in quantity.sample_kinds else ""


def _refused(support: Support, name: str, request: OutputRequest, state: SimState, selected: bool) -> str:
    """What of a request is not served, in words; empty if all is."""
    kind = request.sample_kind
    if kind not in support.sample_kinds:
        return f"{name} per {kind}"
    for gradient in request.explicit_gradients:
        if gradient not in support.explicit_gradients.get(kind, ()):
            return f"the explicit gradient {gradient!r} of {name} per {kind}"
    if selected and not support.selected_atoms:
        return f"{name} of selected atoms"
    if torch.is_grad_enabled() and not support.differentiable:
        for field in ("positions", "cell"):
            if getattr(state, field).requires_grad:
                return f"{name} that its caller can differentiate, and {field} requires a gradient: detach it"
    return ""


def _described(name: str, support: Support) -> str:
    forms = []
    for kind in support.sample_kinds:
        gradients = " and ".join(support.explicit_gradients.get(kind, ()))
        forms.append(f"per {kind}" + (f" with gradients in {gradients}" if gradients else ""))
    forms += [] if support.selected_atoms else ["not of selected atoms"]
    forms += [] if support.differentiable else ["not differentiable by the caller"]
    return f"{name} ({', '.join(forms)})"
