"""Where numbers lie in a kernel: an irrep's components one after another, each with its channels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from shoal.nn.irreps import Channels, Irrep, Path

VECTOR_BYTES = 64
"""Channels are filled up to this many bytes, the widest vector, whatever vectors a kernel uses."""


def lanes(dtype: torch.dtype) -> int:
    """Numbers that channels are filled up to a multiple of."""
    return VECTOR_BYTES // dtype.itemsize


@dataclass(frozen=True)
class Block:
    """An irrep in a record: where it starts, and the length of each of its components."""

    irrep: Irrep
    start: int
    stride: int

    def at(self, component: int) -> int:
        return self.start + component * self.stride


@dataclass(frozen=True)
class Layout:
    """The record of one row of features with `parts` of channels for each irrep, each part filled up.

    A part is what is read or written on its own: the slot of a path, the scalars or the gates of an irrep.
    """

    parts: dict[Irrep, tuple[int, ...]]
    lanes: int

    @classmethod
    def of(cls, channels: Channels, lanes: int) -> Layout:
        return cls({irrep: (count,) for irrep, count in channels.items()}, lanes)

    def padded(self, count: int) -> int:
        return -(-count // self.lanes) * self.lanes

    @cached_property
    def blocks(self) -> dict[Irrep, Block]:
        found, start = {}, 0
        for irrep, parts in self.parts.items():
            stride = sum(map(self.padded, parts))
            found[irrep] = Block(irrep, start, stride)
            start += irrep.dim * stride
        return found

    @property
    def size(self) -> int:
        return sum(block.irrep.dim * block.stride for block in self.blocks.values())

    def part(self, irrep: Irrep, n: int) -> int:
        """Where part n begins within a component."""
        return sum(map(self.padded, self.parts[irrep][:n]))

    def places(self, irrep: Irrep) -> torch.Tensor:
        """Where in a component each channel lies, parts one after another."""
        starts = [self.part(irrep, n) for n in range(len(self.parts[irrep]))]
        return torch.cat([start + torch.arange(c) for start, c in zip(starts, self.parts[irrep], strict=True)])


def path_layout(paths: Sequence[Path], targets: Channels, lanes: int) -> Layout:
    """Of a convolution's result: for each target a part for each path, in their order."""
    return Layout(
        {target: tuple(path.channels for path in paths if path.target == target) for target in targets}, lanes
    )


def spread(
    matrix: torch.Tensor, rows: torch.Tensor, n_rows: int, columns: torch.Tensor, n_columns: int
) -> torch.Tensor:
    """The matrix (..., u, w) with its rows and columns at their places in (..., n_rows, n_columns), zeros elsewhere."""
    out = matrix.new_zeros((*matrix.shape[:-2], n_rows, n_columns))
    out[..., rows[:, None], columns] = matrix
    return out
