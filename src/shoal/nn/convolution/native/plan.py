"""What is emitted for one convolution: its paths, their couplings, and where its numbers lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import sqrt

from shoal.nn.convolution.native.layout import Layout, path_layout
from shoal.nn.irreps import Channels, Path
from shoal.nn.wigner import wigner_3j


@dataclass(frozen=True)
class ConvolutionPlan:
    """What is emitted: paths from `inputs` by harmonics up to `l_max` into `targets`; see `shoal.nn.Convolution`."""

    name: str
    inputs: Channels
    targets: Channels
    paths: tuple[Path, ...]
    l_max: int
    lanes: int

    @cached_property
    def x(self) -> Layout:
        return Layout.of(self.inputs, self.lanes)

    @cached_property
    def sums(self) -> Layout:
        return path_layout(self.paths, self.targets, self.lanes)

    def weight(self, n: int) -> int:
        """Where path n's radial weights begin in a row of them."""
        return sum(self.x.padded(path.channels) for path in self.paths[:n])

    @cached_property
    def n_weights(self) -> int:
        return self.weight(len(self.paths))

    def slot(self, n: int, component: int) -> int:
        """Where component c of path n lies in the result."""
        path = self.paths[n]
        before = sum(other.target == path.target for other in self.paths[:n])
        return self.sums.blocks[path.target].at(component) + self.sums.part(path.target, before)

    def coupling(self, n: int) -> dict[tuple[int, int, int], float]:
        """Nonzero sqrt(2l + 1) w3j by components of source, harmonic and target."""
        path = self.paths[n]
        values = sqrt(path.target.dim) * wigner_3j(path.source.l, path.l, path.target.l)
        a, b, c = map(range, values.shape)
        return {index: float(values[index]) for index in product(a, b, c) if abs(values[index]) > 1e-9}

    @cached_property
    def angles(self) -> dict[tuple[int, int, int], tuple[int, dict[int, float]]]:
        """(path, a, c) -> number of t and, by harmonic, what it sums; without those of degree 0, which are numbers."""
        found: dict[tuple[int, int, int], tuple[int, dict[int, float]]] = {}
        known: dict[tuple[tuple[int, float], ...], int] = {}
        for n, path in enumerate(self.paths):
            if path.l == 0:
                continue
            for (a, b, c), value in self.coupling(n).items():
                found.setdefault((n, a, c), (0, {}))[1][path.l**2 + b] = value
        for key, (_, terms) in found.items():
            number_of = known.setdefault(tuple(sorted(terms.items())), len(known))
            found[key] = (number_of, terms)
        return found

    @property
    def n_angles(self) -> int:
        return 1 + max((number_of for number_of, _ in self.angles.values()), default=-1)

    @property
    def n_harmonics(self) -> int:
        return (self.l_max + 1) ** 2
