"""What depends on an atom's type alone: its embedding, and scale and shift of its energy.

N atoms, T types, V embedding size.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from .initial import normal


class TypeEmbedding(nn.Module):
    """A learned vector (V,) per type."""

    def __init__(self, n_types: int, size: int, dtype: torch.dtype, generator: Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal((n_types, size), dtype, generator))


class ScaleShift(nn.Module):
    """scale[type] * energy + shift[type] in float64, whatever the model's precision."""

    scales: Tensor
    shifts: Tensor

    def __init__(self, n_types: int, scales_trainable: bool, shifts_trainable: bool) -> None:
        super().__init__()
        for name, start, trainable in (("scales", 1.0, scales_trainable), ("shifts", 0.0, shifts_trainable)):
            values = torch.full((n_types,), start, dtype=torch.float64)
            if trainable:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)

    def set(self, scales: float | Sequence[float] | Tensor, shifts: float | Sequence[float] | Tensor) -> None:
        """Replace scales (eV) and shifts (eV); one number or one per type."""
        with torch.no_grad():
            for name, target, values in (("scales", self.scales, scales), ("shifts", self.shifts, shifts)):
                source = torch.as_tensor(values, dtype=torch.float64, device=target.device)
                if source.shape not in ((), target.shape):
                    raise ValueError(f"{name} need one value or {len(target)}, got shape {tuple(source.shape)}")
                target.copy_(source)

    def forward(self, energies: Tensor, atom_types: Tensor) -> Tensor:
        """Energies (N,) float64 in eV."""
        return torch.addcmul(self.shifts[atom_types], self.scales[atom_types], energies.to(torch.float64))
