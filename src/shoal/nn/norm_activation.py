"""Norm activation: every feature keeps its direction, its norm passes through SiLU."""

import torch
from torch import nn

from shoal.nn.irreps import Channels, Features

SMALLEST_NORM = 1e-8


class NormActivation(nn.Module):
    """x silu(|x|) / |x| for every channel of every irrep, 0e and 0o included; norms below 1e-8 count as that.

    `inputs` are the channels it takes for given `outputs`: the same.
    """

    def __init__(self, outputs: Channels) -> None:
        super().__init__()
        self.inputs: Channels = dict(outputs)

    def forward(self, features: Features) -> Features:
        """Features with the channels `outputs`, from as many."""
        activated = {}
        for irrep in self.inputs:
            x = features[irrep]
            # silu(n) / n is the logistic function; the bound under the root keeps every derivative at zero finite
            norm = (x * x).sum(dim=1, keepdim=True).clamp(min=SMALLEST_NORM**2).sqrt()
            activated[irrep] = x * torch.sigmoid(norm)
        return activated
