"""Irreducible representations of O(3): bookkeeping of which features exist and how they couple.

Node features are a `Features` dictionary: one tensor (N, 2l+1, C) per irrep, channels innermost.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from torch import Tensor


class Irrep(NamedTuple):
    """Degree l and parity (+1 even, -1 odd) of a feature."""

    l: int
    parity: int

    @property
    def dim(self) -> int:
        return 2 * self.l + 1

    def times(self, other: "Irrep") -> Iterator["Irrep"]:
        """Irreps of the product with `other`, by rising l."""
        for l in range(abs(self.l - other.l), self.l + other.l + 1):
            yield Irrep(l, self.parity * other.parity)

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.parity == 1 else 'o'}"


SCALAR = Irrep(0, 1)

Features: TypeAlias = dict[Irrep, Tensor]
Channels: TypeAlias = dict[Irrep, int]  # in the order in which features are stored


class Path(NamedTuple):
    """One coupling of a neighbour's feature with the harmonic of degree `l` into `target`."""

    source: Irrep
    l: int
    target: Irrep
    channels: int


def harmonic(l: int) -> Irrep:
    """Irrep of the spherical harmonics of degree l."""
    return Irrep(l, (-1) ** l)


def couplings(channels: Channels, l_max: int, targets: Channels) -> list[Path]:
    """All paths from features with `channels` and harmonics up to `l_max` into `targets`."""
    return [
        Path(source, l, target, count)
        for source, count in channels.items()
        for l in range(l_max + 1)
        for target in source.times(harmonic(l))
        if target in targets
    ]


def reachable(channels: Channels, l_max: int, hidden: Channels) -> Channels:
    """Those of the `hidden` irreps that at least one path from `channels` ends in."""
    reached = {path.target for path in couplings(channels, l_max, hidden)}
    return {irrep: count for irrep, count in hidden.items() if irrep in reached}
