"""Gate: scalars pass through an activation, every other channel is multiplied by a scalar of its own."""

import torch
from torch import nn
from torch.nn.functional import silu

from .irreps import SCALAR, Channels, Features

# upstream's Monte-Carlo estimates of the activations' root mean square under a standard normal, inverted
SILU_SCALE = 1.6791767923989418
TANH_SCALE = 1.5937334472592695


class Gate(nn.Module):
    """SiLU on 0e, tanh on 0o, SiLU of its own extra 0e times each channel with l > 0; unit second moments.

    `inputs` are the channels it expects for given `outputs`: the 0e block holds the scalars, then the gates of
    the other irreps in their order.
    """

    def __init__(self, outputs: Channels) -> None:
        super().__init__()
        self.scalars = outputs[SCALAR]
        self.gated = {irrep: count for irrep, count in outputs.items() if irrep.l > 0}
        self.inputs: Channels = {**outputs, SCALAR: self.scalars + sum(self.gated.values())}

    def forward(self, features: Features) -> Features:
        activated = SILU_SCALE * silu(features[SCALAR])
        scalars, *gates = activated.split([self.scalars, *self.gated.values()], dim=-1)
        out = {SCALAR: scalars}
        for irrep, x in features.items():
            if irrep.l == 0 and irrep.parity == -1:
                out[irrep] = TANH_SCALE * torch.tanh(x)
        for irrep, gate in zip(self.gated, gates, strict=True):
            out[irrep] = gate * features[irrep]
        return out
