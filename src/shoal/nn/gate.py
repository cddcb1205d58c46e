"""Gate: scalars pass through an activation, every other channel is multiplied by a scalar of its own."""

import torch
from torch import nn
from torch.nn.functional import silu

from shoal.nn.irreps import SCALAR, Channels, Features

# 1 / root mean square of the activation under a standard normal, as e3nn estimates it by a fixed Monte-Carlo
# sample: equal models need its digits, not those of the integral
SILU_SCALE = 1.6791767923989418
TANH_SCALE = 1.5937334472592695


class Gate(nn.Module):
    """SiLU on 0e, tanh on 0o, SiLU of an extra 0e times each channel with l > 0, at unit second moments.

    `inputs` are the channels it takes for given `outputs`: its 0e block holds the scalars, then the gates of the
    irreps with l > 0 in their order.
    """

    def __init__(self, outputs: Channels) -> None:
        super().__init__()
        self.outputs = outputs
        gates = [count for irrep, count in outputs.items() if irrep.l > 0]
        self.inputs: Channels = {**outputs, SCALAR: outputs[SCALAR] + sum(gates)}
        self.sizes = [outputs[SCALAR], *gates]

    def forward(self, features: Features) -> Features:
        """Features with the channels `outputs` from those with `inputs`."""
        scalars, *gates = (SILU_SCALE * silu(features[SCALAR])).split(self.sizes, dim=-1)
        gated = {}
        for irrep in self.outputs:
            if irrep == SCALAR:
                gated[irrep] = scalars
            elif irrep.l == 0:
                gated[irrep] = TANH_SCALE * torch.tanh(features[irrep])
            else:
                gated[irrep] = gates.pop(0) * features[irrep]
        return gated
