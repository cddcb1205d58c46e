"""The guarded step, compiled: with a sum of pair potentials as one graph, with any other potential in two halves.

N atoms, S systems, M the most neighbours of an atom, I images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import Generic

import torch

from shoal.engine.graph import Dims, compiled_graph, compiled_halves, contiguous, dims_of
from shoal.engine.step import Goal, Limits, Mover, State, advance, is_done
from shoal.errors import CompileError
from shoal.motion import Evaluate, Evaluation, Rows, Systems
from shoal.neighbors import NeighborList, PaddedNeighbors, carried, padded, used_skin
from shoal.potentials import PairTerms, Potential, pair_sums, pair_terms

Graph = Callable[[list[torch.Tensor], Evaluate], list[torch.Tensor]]


@dataclass(eq=False)
class Listed:
    """What a compiled step takes of a neighbour list, made when the list is.

    `pairs` and their translations (I, 3) A are for sums of pair potentials alone; types (N,) int64.
    """

    neighbors: NeighborList
    types: torch.Tensor
    pairs: PaddedNeighbors | None = None
    translations: torch.Tensor | None = None
    _leaves: list[torch.Tensor] | None = None
    _leaves_of: tuple[object, ...] = ()

    @classmethod
    def of(cls, neighbors: NeighborList, atom_types: torch.Tensor, *, with_pairs: bool) -> Listed:
        if not with_pairs:
            return cls(neighbors, atom_types)
        pairs = padded(neighbors)
        return cls(neighbors, atom_types, pairs, pairs.translations(neighbors.cell, neighbors.system_index))

    @cached_property
    def tensors(self) -> list[torch.Tensor]:
        """As `REFERENCE` and then `PAIRS` tell their dimensions."""
        own = self.neighbors
        reach = [torch.tensor(a, dtype=torch.float64, device=self.types.device) for a in (own.cutoff, own.skin)]
        reference = [own.positions, own.cell, own.inverse, *reach]
        if self.pairs is None or self.translations is None:
            return reference
        return [*reference, self.pairs.neighbor, self.pairs.owner, self.pairs.shift, self.translations, self.types]

    def leaves(self, systems: Systems, goal: Goal | None, active: torch.Tensor) -> list[torch.Tensor]:
        """Of these and its own tensors, contiguous; they last for many steps."""
        if self._leaves is None or any(
            a is not b for a, b in zip(self._leaves_of, (systems, goal, active), strict=True)
        ):
            aims = [] if goal is None else goal.leaves()
            self._leaves = contiguous([*systems.leaves(), *aims, active, *self.tensors])
            self._leaves_of = systems, goal, active
        return self._leaves


REFERENCE: list[Dims] = [("atom", None), ("system", None, None), ("system", None, None), (), ()]
PAIRS: list[Dims] = [("atom", "neighbor"), ("image",), ("image", None), ("image", None), ("atom",)]
"""What the dimensions of `Listed.tensors` count."""
ASKED = 2
"""A step asks for the evaluation of positions and a cell,"""
GIVEN: list[Dims] = [("system",), ("atom", None), ("system", None, None)]
"""and is given these."""


class CompiledStep(Generic[State]):
    """`advance` of one mover, compiled for any numbers of atoms, systems and neighbours.

    With `terms`, those of a sum of pair potentials, all of it is one graph. Without, it is two, before and after the
    evaluation, and holds for any potential. The first call compiles: ten seconds and more, less from the cache of an
    earlier run. Raises CompileError for a mover that does not evaluate once a step.
    """

    def __init__(self, mover: Mover[State], terms: PairTerms | None, limits: Limits, threads: int) -> None:
        self.mover, self.terms, self.limits, self.threads = mover, terms, limits, threads
        self._graph: Graph | None = None

    def __call__(
        self,
        frame: State,
        systems: Systems,
        active: torch.Tensor,
        listed: Listed,
        goal: Goal | None,
        evaluate: Evaluate,
    ) -> tuple[State, torch.Tensor, torch.Tensor]:
        leaves = contiguous(frame.leaves()) + listed.leaves(systems, goal, active)
        if self._graph is None:
            self._graph = self._compile(frame, systems, goal, leaves)
            self.terms = None  # they keep the potential alive, by which compiled steps are known
        *new, flags, finished = self._graph(leaves, evaluate)
        return frame.with_leaves(new), flags, finished

    def _compile(self, frame: State, systems: Systems, goal: Goal | None, leaves: list[torch.Tensor]) -> Graph:
        def unpacked(values: list[torch.Tensor]) -> tuple[State, Systems, Goal | None, list[torch.Tensor]]:
            left = iter(values)
            own = frame.with_leaves(islice(left, len(frame.leaves())))
            of = systems.with_leaves(islice(left, len(systems.leaves())))
            aims = None if goal is None else goal.with_leaves(islice(left, len(goal.leaves())))
            return own, of, aims, list(left)

        def whole(values: list[torch.Tensor]) -> list[torch.Tensor]:
            own, of, aims, (active, *rest) = unpacked(values)
            reference, pairs = rest[: len(REFERENCE)], rest[len(REFERENCE) :]
            return self._step(own, of, aims, active, reference, self._pair_evaluation(of, pairs))

        def halves(values: list[torch.Tensor]) -> list[torch.Tensor]:
            own, of, aims, (active, *rest) = unpacked(values)
            asked: list[torch.Tensor] = []

            def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
                asked.extend((positions, cell))
                return Evaluation(*rest[len(REFERENCE) :])

            made = self._step(own, of, aims, active, rest[: len(REFERENCE)], evaluate)
            if len(asked) != ASKED:
                raise CompileError(f"a step of {type(self.mover).__name__} does not evaluate the potential once")
            return [*asked, *made]

        rows: list[Rows] = [frame, systems] if goal is None else [frame, systems, goal]
        dims = [*chain.from_iterable(map(dims_of, rows)), ("system",), *REFERENCE]
        if self.terms is not None:
            graph = compiled_graph(whole, leaves, [*dims, *PAIRS], self.threads)
            return lambda values, evaluate: graph(values)
        given = [frame.energy, frame.forces, frame.cell]
        dims = [*dims, *GIVEN]
        return compiled_halves(halves, [*leaves, *given], dims, ASKED, len(GIVEN), self.threads)

    def _step(
        self,
        frame: State,
        systems: Systems,
        goal: Goal | None,
        active: torch.Tensor,
        reference: list[torch.Tensor],
        evaluate: Evaluate,
    ) -> list[torch.Tensor]:
        *then, cutoff, skin = reference

        def share(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
            if not self.mover.moves_cell:
                return (positions - then[0]).square().sum(1).sqrt() / (0.5 * skin)
            return used_skin(positions, cell, then, systems.system_index, systems.pbc, cutoff, skin)

        def along(change: torch.Tensor) -> torch.Tensor:
            return carried(then[0], then[2], change, systems.system_index, systems.pbc)

        done = None if goal is None else partial(is_done, self.mover, systems, goal)
        new, flags, finished = advance(self.mover, frame, systems, active, evaluate, share, along, self.limits, done)
        return [*new.leaves(), flags, finished]

    def _pair_evaluation(self, systems: Systems, tensors: list[torch.Tensor]) -> Evaluate:
        terms = self.terms
        assert terms is not None
        neighbor, owner, shift, translations, types = tensors
        pairs = PaddedNeighbors(neighbor, owner, shift)

        def evaluate(positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
            moved = pairs.translations(cell, systems.system_index) if self.mover.moves_cell else translations
            images = pairs.images(positions, moved)
            return Evaluation(
                *pair_sums(terms, pairs, positions, images, types, systems.system_index, systems.n_systems)
            )

        return evaluate


def matrix_terms(potential: Potential) -> PairTerms | None:
    """The pair potentials to be summed on the neighbour matrix; None where there are none, or faster C++ kernels."""
    return None if potential.has_kernels else pair_terms(potential)


def pair_evaluation(
    terms: PairTerms, listed: Listed, systems: Systems, positions: torch.Tensor, cell: torch.Tensor
) -> Evaluation:
    """Energy, forces and virial at positions (N, 3) and cells (S, 3, 3), uncompiled."""
    assert listed.pairs is not None
    images = listed.pairs.images(positions, listed.pairs.translations(cell, systems.system_index))
    return Evaluation(
        *pair_sums(terms, listed.pairs, positions, images, listed.types, systems.system_index, systems.n_systems)
    )
