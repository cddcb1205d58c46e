"""Temperatures that may change within a run, as tensors.

S systems.
"""

from __future__ import annotations

import torch

from shoal.dynamics.base import PerSystem, Ramp
from shoal.motion import Systems
from shoal.parameters import not_negative


def ramp_of(temperature: PerSystem | Ramp, systems: Systems) -> torch.Tensor:
    """(S, 3): temperatures (K) at the start and at the end, and the steps between them."""
    ramp = temperature if isinstance(temperature, Ramp) else Ramp(temperature, temperature, 1)
    ends = [not_negative("temperature", value, systems) for value in (ramp.start, ramp.end)]
    return torch.stack([*ends, torch.full_like(ends[0], float(ramp.n_steps))], dim=1)


def at_step(ramp: torch.Tensor, elapsed: torch.Tensor) -> torch.Tensor:
    """(S,) K: the temperature of `ramp_of` when `elapsed` (S,) steps are done."""
    start, end, n_steps = ramp.unbind(1)
    return start + (end - start) * (elapsed / n_steps).clamp(max=1.0)
