"""The guarded step as one compiled function, for potentials that are sums over pairs.

N atoms, S systems, M the most neighbours of an atom, I images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import Generic

import torch

from shoal.engine.graph import Dims, compiled_graph, dims_of
from shoal.engine.step import Goal, Limits, Mover, State, advance, is_done
from shoal.motion import Evaluation, Rows, Systems
from shoal.neighbors import NeighborList, PaddedNeighbors, carried, padded, used_skin
from shoal.potentials import PairPotential

Terms = list[tuple[PairPotential, torch.Tensor | None]]


@dataclass(frozen=True, eq=False)
class Listed:
    """What a compiled step takes of a neighbour list, made when the list is."""

    neighbors: NeighborList
    pairs: PaddedNeighbors
    translations: torch.Tensor
    types: torch.Tensor

    @classmethod
    def of(cls, neighbors: NeighborList, atom_types: torch.Tensor) -> Listed:
        pairs = padded(neighbors)
        return cls(neighbors, pairs, pairs.translations(neighbors.cell, neighbors.system_index), atom_types)

    @cached_property
    def tensors(self) -> list[torch.Tensor]:
        return [
            self.pairs.neighbor,
            self.pairs.owner,
            self.pairs.shift,
            self.translations,
            self.types,
            self.neighbors.positions,
            self.neighbors.cell,
            self.neighbors.inverse,
            torch.tensor(self.neighbors.skin, dtype=torch.float64, device=self.types.device),
        ]


LISTED: list[Dims] = [
    ("atom", "neighbor"),
    ("image",),
    ("image", None),
    ("image", None),
    ("atom",),
    ("atom", None),
    ("system", None, None),
    ("system", None, None),
    (),
]
"""What the dimensions of `Listed.tensors` count."""


class CompiledStep(Generic[State]):
    """`advance` of one mover with a sum of pair potentials, compiled for any numbers of atoms, systems and neighbours.

    The first call compiles: ten seconds and more, less from the cache of an earlier run.
    """

    def __init__(self, mover: Mover[State], terms: Terms, limits: Limits) -> None:
        self.mover, self.terms, self.limits = mover, terms, limits
        self._graph: Callable[..., list[torch.Tensor]] | None = None

    def __call__(
        self, frame: State, systems: Systems, active: torch.Tensor, listed: Listed, goal: Goal | None
    ) -> tuple[State, torch.Tensor, torch.Tensor]:
        aims = [] if goal is None else goal.leaves()
        leaves = [*frame.leaves(), *systems.leaves(), *aims, active, *listed.tensors]
        if self._graph is None:
            self._graph = self._compile(frame, systems, listed, goal, leaves)
            self.terms = []  # they keep the potential alive, by which compiled steps are known
        *new, flags, finished = self._graph(leaves)
        return frame.with_leaves(new), flags, finished

    def _compile(
        self, frame: State, systems: Systems, listed: Listed, goal: Goal | None, leaves: list[torch.Tensor]
    ) -> Callable[..., list[torch.Tensor]]:
        def flat(values: list[torch.Tensor]) -> list[torch.Tensor]:
            left = iter(values)
            own = frame.with_leaves(islice(left, len(frame.leaves())))
            of = systems.with_leaves(islice(left, len(systems.leaves())))
            aims = None if goal is None else goal.with_leaves(islice(left, len(goal.leaves())))
            new, flags, finished = self._step(own, of, aims, listed.neighbors.cutoff, *left)
            return [*new.leaves(), flags, finished]

        rows: list[Rows] = [frame, systems] if goal is None else [frame, systems, goal]
        dims = [*chain.from_iterable(map(dims_of, rows)), ("system",), *LISTED]
        return compiled_graph(flat, leaves, dims)

    def _step(
        self,
        frame: State,
        systems: Systems,
        goal: Goal | None,
        cutoff: float,
        active: torch.Tensor,
        neighbor: torch.Tensor,
        owner: torch.Tensor,
        shift: torch.Tensor,
        translations: torch.Tensor,
        types: torch.Tensor,
        *reference: torch.Tensor,
    ) -> tuple[State, torch.Tensor, torch.Tensor]:
        pairs = PaddedNeighbors(neighbor, owner, shift)
        moves_cell = self.mover.moves_cell

        def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
            moved = pairs.translations(cell, systems.system_index) if moves_cell else translations
            return pair_sums(self.terms, pairs, positions, pairs.images(positions, moved), types, systems)

        def share(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
            *then, skin = reference
            if not moves_cell:
                return (positions - then[0]).square().sum(1).sqrt() / (0.5 * skin)
            return used_skin(positions, cell, then, systems.system_index, systems.pbc, cutoff, skin)

        def along(change: torch.Tensor) -> torch.Tensor:
            return carried(reference[0], reference[2], change, systems.system_index, systems.pbc)

        done = None if goal is None else partial(is_done, self.mover, systems, goal)
        return advance(self.mover, frame, systems, active, evaluate, share, along, self.limits, done)


def pair_evaluation(
    terms: Terms, listed: Listed, systems: Systems, positions: torch.Tensor, cell: torch.Tensor
) -> Evaluation:
    """Energy, forces and virial at positions (N, 3) and cells (S, 3, 3), uncompiled."""
    moved = listed.pairs.translations(cell, systems.system_index)
    images = listed.pairs.images(positions, moved)
    return pair_sums(terms, listed.pairs, positions, images, listed.types, systems)


def pair_sums(
    terms: Terms,
    pairs: PaddedNeighbors,
    positions: torch.Tensor,
    images: torch.Tensor,
    types: torch.Tensor,
    systems: Systems,
) -> Evaluation:
    """Energy, forces and virial by sums along the rows of a neighbour matrix: each pair is met from both its atoms."""
    x, y, z = (images[:, k][pairs.neighbor] - positions[:, k, None] for k in range(3))
    towards = (x, y, z)
    squared = x * x + y * y + z * z
    energy, slope = pair_energies(terms, squared, types, pairs)
    forces = torch.stack([(2 * slope * d).sum(1) for d in towards], dim=1)
    outer = [[(slope * a * b).sum(1) for b in towards] for a in towards]
    virial = -torch.stack([torch.stack(row, dim=1) for row in outer], dim=1)
    return Evaluation(systems.sum(0.5 * energy.sum(1)), forces, systems.sum(virial))


def pair_energies(
    terms: Terms, squared: torch.Tensor, types: torch.Tensor, pairs: PaddedNeighbors
) -> tuple[torch.Tensor, torch.Tensor]:
    """phi (N, M) eV and its slope in the squared distance (N, M) eV/A^2."""
    squared = squared.detach().requires_grad_(True)
    with torch.enable_grad():
        phi = torch.zeros_like(squared)
        for potential, own in terms:
            if len(potential.type_names) == 1:
                first = second = torch.zeros(1, 1, dtype=torch.int64, device=squared.device)
            else:
                image_types = torch.cat([types[pairs.owner], torch.zeros_like(types[:1])])
                first, second = types[:, None], image_types[pairs.neighbor]
                if own is not None:
                    first, second = own[first], own[second]
            phi = phi + potential.pair_energies(squared, first, second)
        (slope,) = torch.autograd.grad(phi.sum(), squared)
    return phi.detach(), slope
