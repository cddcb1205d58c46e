"""Initial weights: zero mean, unit variance, from the caller's generator, the same in both precisions."""

from math import sqrt

import torch
from torch import Generator, Tensor


def normal(shape: tuple[int, ...], dtype: torch.dtype, generator: Generator) -> Tensor:
    """Standard normal values, drawn in float64 and rounded to `dtype`."""
    return torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device).to(dtype)


def uniform(shape: tuple[int, ...], dtype: torch.dtype, generator: Generator) -> Tensor:
    """Values uniform in (-sqrt 3, sqrt 3), drawn in float64 and rounded to `dtype`."""
    values = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return ((2 * values - 1) * sqrt(3)).to(dtype)
