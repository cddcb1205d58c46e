"""Energy scale and isolated-atom energy of each atom type.

N atoms, T types.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shoal.errors import InputError


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
        """Replace scales and shifts (eV); one number or one per type."""
        with torch.no_grad():
            for name, target, values in (("scales", self.scales, scales), ("shifts", self.shifts, shifts)):
                source = torch.as_tensor(values, dtype=torch.float64, device=target.device)
                if source.shape not in ((), target.shape):
                    raise InputError(f"{name} have shape {tuple(source.shape)}, the model has {len(target)} types")
                target.copy_(source)

    def forward(self, energies: Tensor, atom_types: Tensor) -> Tensor:
        """Energies (N,) float64 in eV from the network's output (N,)."""
        return torch.addcmul(self.shifts[atom_types], self.scales[atom_types], energies.to(torch.float64))
