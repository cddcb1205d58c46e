"""Parameters of integrators as tensors, one value for each system.

S systems.
"""

from __future__ import annotations

import torch

from shoal.dynamics.base import PerSystem, Ramp
from shoal.errors import InputError
from shoal.motion import Systems


def not_negative(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is negative or not finite."""
    return _checked(name, value, systems, lambda picked: picked >= 0, "not be negative")


def positive(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is not positive and finite."""
    return _checked(name, value, systems, lambda picked: picked > 0, "be positive")


def finite(name: str, value: PerSystem, systems: Systems) -> torch.Tensor:
    """(S,) float64. Raises InputError for what is not finite."""
    return _checked(name, value, systems, torch.isfinite, "be finite")


def ramp_of(temperature: PerSystem | Ramp, systems: Systems) -> torch.Tensor:
    """(S, 3): temperatures (K) at the start and at the end, and the steps between them."""
    ramp = temperature if isinstance(temperature, Ramp) else Ramp(temperature, temperature, 1)
    ends = [not_negative("temperature", value, systems) for value in (ramp.start, ramp.end)]
    return torch.stack([*ends, torch.full_like(ends[0], float(ramp.n_steps))], dim=1)


def at_step(ramp: torch.Tensor, elapsed: torch.Tensor) -> torch.Tensor:
    """(S,) K: the temperature of `ramp_of` when `elapsed` (S,) steps are done."""
    start, end, n_steps = ramp.unbind(1)
    return start + (end - start) * (elapsed / n_steps).clamp(max=1.0)


def _checked(name: str, value: PerSystem, systems: Systems, allowed: object, must: str) -> torch.Tensor:
    try:
        picked = systems.pick(value)
    except (TypeError, ValueError, IndexError, RuntimeError):
        raise InputError(
            f"{name} must be a number, or one number for each system of the input; got {value!r}"
        ) from None
    if not bool((allowed(picked) & torch.isfinite(picked)).all()):  # type: ignore[operator]
        raise InputError(f"{name} must {must}, got {value!r}")
    return picked
