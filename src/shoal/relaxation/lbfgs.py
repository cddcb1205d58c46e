"""Limited-memory BFGS.

N atoms, S systems, M pairs in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.errors import InputError
from shoal.motion import Evaluate, Systems, per_atom, per_system
from shoal.relaxation.base import Optimizer
from shoal.relaxation.parameters import check_positive
from shoal.relaxation.state import Coordinates, DeformedState, RelaxState


@dataclass(frozen=True, eq=False)
class LBFGSState(DeformedState):
    """The last M pairs, the newest last: steps s and the changes y of the gradient over them, of atoms (N, M, 3) and
    of the cell's rows (S, M, 3, 3); products (S, M, M): s_i . y_j for i <= j, 0 below.

    An empty place has s = y = 0 and a product of 1 on the diagonal, so that it has no part in anything.
    """

    steps: torch.Tensor = per_atom()
    row_steps: torch.Tensor = per_system()
    changes: torch.Tensor = per_atom()
    row_changes: torch.Tensor = per_system()
    products: torch.Tensor = per_system()


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """L-BFGS without a line search, as ASE has it, step for step.

    `maxstep` A: the longest row of a step, of an atom or of the cell, at most 1. `memory`: pairs that are kept.
    `damping`: a factor on each step. `alpha`: the curvature that is guessed first, eV/A^2.

    Source: J. Nocedal, Math. Comput. 35, 773 (1980); its two loops are solved as triangular systems, after
    R. H. Byrd, J. Nocedal, R. B. Schnabel, Math. Program. 63, 129 (1994), theorem 2.2.
    """

    maxstep: float = 0.2
    memory: int = 100
    damping: float = 1.0
    alpha: float = 70.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "maxstep", "memory", "damping", "alpha")
        if self.maxstep > 1 or self.memory != int(self.memory):
            raise InputError(
                f"LBFGS: maxstep must be at most 1 A and memory a whole number, got {self.maxstep} and {self.memory}"
            )

    def init(self, systems: Systems, start: RelaxState) -> LBFGSState:
        atoms, cells, memory = start.positions, start.cell, int(self.memory)
        empty = torch.eye(memory, dtype=cells.dtype, device=cells.device)
        return self.begun(systems, start).become(
            LBFGSState,
            steps=atoms.new_zeros(atoms.shape[0], memory, 3),
            row_steps=cells.new_zeros(cells.shape[0], memory, 3, 3),
            changes=atoms.new_zeros(atoms.shape[0], memory, 3),
            row_changes=cells.new_zeros(cells.shape[0], memory, 3, 3),
            products=empty.expand(cells.shape[0], memory, memory).clone(),
        )

    def step(self, state: DeformedState, systems: Systems, evaluate: Evaluate) -> DeformedState:
        assert isinstance(state, LBFGSState)
        way = self._newton_step(state, systems)
        longest = way.longest(systems)
        shrink = torch.where(longest >= self.maxstep, self.maxstep / longest, 1.0)
        start = self.cell.coordinates(state, systems)
        way = way.times(shrink * self.damping, systems)
        new = self.moved(state, start.plus(way), systems, evaluate)
        # what was really stepped: a strain mask may have taken a part of it off
        step = self.cell.coordinates(new, systems).minus(start)
        # of fixed atoms it is rounding, which the inverse Hessian would multiply step by step
        step = Coordinates(torch.where(systems.fixed[:, None], 0.0, step.atoms), step.rows)
        return _remembered(new, step, state.pulls.minus(new.pulls), systems)

    def _newton_step(self, state: LBFGSState, systems: Systems) -> Coordinates:
        """The inverse Hessian times the forces.

        With R the products, D their diagonal, S and Y the pairs: R a = S^T F and R^T c = D a - Y^T z, for
        z = (F - Y a) / alpha; the step is z + S c.
        """
        s, y = Coordinates(state.steps, state.row_steps), Coordinates(state.changes, state.row_changes)
        forces, products = state.pulls, state.products
        a = _solve(products, _dots(s, forces, systems), upper=True)
        z = forces.minus(_combined(y, a, systems))
        z = Coordinates(z.atoms / self.alpha, z.rows / self.alpha)
        known = torch.diagonal(products, dim1=1, dim2=2) * a - _dots(y, z, systems)
        c = _solve(products.transpose(1, 2), known, upper=False)
        return z.plus(_combined(s, c, systems))


def _remembered(state: DeformedState, step: Coordinates, change: Coordinates, systems: Systems) -> LBFGSState:
    """The state with one more pair, and without the oldest; a pair without curvature leaves an empty place."""
    assert isinstance(state, LBFGSState)
    curved = step.dot(change, systems) != 0
    zero = curved.to(step.rows.dtype)
    step, change = step.times(zero, systems), change.times(zero, systems)
    steps = torch.cat((state.steps[:, 1:], step.atoms[:, None]), dim=1)
    row_steps = torch.cat((state.row_steps[:, 1:], step.rows[:, None]), dim=1)
    column = _dots(Coordinates(steps, row_steps), change, systems)
    last = torch.where(curved, column[:, -1], 1.0)[:, None]
    column = torch.cat((column[:, :-1], last), dim=1)[:, :, None]
    below = torch.zeros_like(state.products[:, :1, 1:])
    older = torch.cat((state.products[:, 1:, 1:], below), dim=1)
    return state.replace(
        steps=steps,
        row_steps=row_steps,
        changes=torch.cat((state.changes[:, 1:], change.atoms[:, None]), dim=1),
        row_changes=torch.cat((state.row_changes[:, 1:], change.rows[:, None]), dim=1),
        products=torch.cat((older, column), dim=2),
    )


def _dots(pairs: Coordinates, one: Coordinates, systems: Systems) -> torch.Tensor:
    """(S, M): each remembered vector's inner product with another."""
    atoms = systems.sum((pairs.atoms * one.atoms[:, None]).sum(2))
    return atoms + (pairs.rows * one.rows[:, None]).sum((2, 3))


def _combined(pairs: Coordinates, factors: torch.Tensor, systems: Systems) -> Coordinates:
    """The sum of remembered vectors times their factors (S, M)."""
    atoms = (pairs.atoms * systems.of_atoms(factors)[:, :, None]).sum(1)
    return Coordinates(atoms, (pairs.rows * factors[:, :, None, None]).sum(1))


@torch.library.custom_op("shoal::solve_triangular", mutates_args=())
def _solve(triangle: torch.Tensor, right: torch.Tensor, upper: bool) -> torch.Tensor:
    """(S, M): the solutions for right sides (S, M); an operator of its own since torch's cannot be traced here."""
    return torch.linalg.solve_triangular(triangle, right[:, :, None], upper=upper)[:, :, 0].contiguous()


@_solve.register_fake
def _(triangle: torch.Tensor, right: torch.Tensor, upper: bool) -> torch.Tensor:
    return torch.empty_like(right)
