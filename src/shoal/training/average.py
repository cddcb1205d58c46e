"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class MovingAverage:
    """average <- d average + (1 - d) weights after each step, d = min(decay, (1 + n) / (10 + n)) at the n-th.

    The slow start keeps the untrained weights from lingering in short runs. Everything that is no parameter is the
    model's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.parameters = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = dict(model.named_parameters())
        torch._foreach_lerp_(list(self.parameters.values()), [current[name] for name in self.parameters], 1 - decay)

    def state_dict(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """A state dictionary that the model can load."""
        return {**model.state_dict(), **self.parameters}

    def load(self, weights: Mapping[str, torch.Tensor], updates: int) -> None:
        """Take up an earlier average."""
        self.updates = updates
        for name, value in self.parameters.items():
            value.copy_(weights[name])

    def to(self, device: torch.device) -> None:
        self.parameters = {name: value.to(device) for name, value in self.parameters.items()}
