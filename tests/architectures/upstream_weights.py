"""Made-up weights under the names and in the flat layout of nequip 0.19.1."""

from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from shoal.architectures import NequIPConfig
from shoal.integrations.nequip.weights import flat_shapes


def made_up(config: NequIPConfig) -> dict[str, Tensor]:
    """Standard normal numbers that depend on a tensor's name alone, float64."""
    return {
        name: torch.from_numpy(np.random.RandomState(crc32(name.encode())).standard_normal(shape))
        for name, shape in flat_shapes(config).items()
    }
