"""The numbers a kernel reads, side by side in one array."""

from __future__ import annotations

import torch


class Weights:
    """Named tensors, each at a multiple of 16 numbers."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.places: dict[str, int] = {}
        self._parts: list[torch.Tensor] = []
        self._size = 0

    def add(self, name: str, values: torch.Tensor) -> None:
        flat = values.detach().to(device="cpu", dtype=self.dtype).flatten()
        self.places[name] = self._size
        filled = -(-flat.numel() // 16) * 16
        self._parts.append(torch.cat([flat, flat.new_zeros(filled - flat.numel())]))
        self._size += filled

    def array(self) -> torch.Tensor:
        """(size,) in the kernel's precision."""
        return torch.cat(self._parts)
