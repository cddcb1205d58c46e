"""The loop: it steps what is resident, keeps the neighbour list up, and takes out of the way what goes wrong.

N atoms, S systems.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Generic

import torch

from shoal.engine.calculator import BatchCalculator
from shoal.engine.compiled_step import CompiledStep, Listed, matrix_terms, pair_evaluation
from shoal.engine.step import Goal, Limits, Mover, State, advance, broken_systems, is_done, torn_atoms, wild_atoms
from shoal.errors import ShoalWarning
from shoal.motion import Evaluation, Systems
from shoal.neighbors import NeighborList, joined, neighbor_list, refreshed, taken
from shoal.potentials import RowFunction
from shoal.state import SimState, concatenate, select
from shoal.status import Status

WIDEST_SKIN = 8.0
"""A: a step that would need a wider one is no step of dynamics or of a relaxation."""


class Loop(Generic[State]):
    """Systems in motion: `step()` moves all that are active by one step.

    `state` gives what does not move (elements, charges ...), `frame` what does. `active` (S,) bool: the others are
    frozen at their last frame; `ended` says of those how they ended, and why. The neighbour list reaches `skin` (A)
    beyond the cutoff and is renewed for a system when an atom of it has used that up: the step in which that happens
    is taken again with the new list, so that no pair is ever missed.
    """

    def __init__(
        self,
        mover: Mover[State],
        calculator: BatchCalculator,
        state: SimState,
        systems: Systems,
        *,
        skin: float,
        limits: Limits,
        goal: Goal | None = None,
    ) -> None:
        self.mover, self.calculator, self.systems, self.limits = mover, calculator, systems, limits
        self.state = state
        self.types = calculator.type_map(state)
        self.active = torch.ones(systems.n_systems, dtype=torch.bool, device=state.device)
        self.ended: dict[int, tuple[Status, str]] = {}
        self.outputs = ("energy", "forces", "virial") if mover.moves_cell else ("energy", "forces")
        self.goal, self.done = goal, torch.zeros_like(self.active)
        self.skin = skin
        self.neighbors: NeighborList
        self._terms = matrix_terms(calculator.potential)
        self._by_rows: RowFunction | None = None
        self._compiled: CompiledStep[State] | None = None
        self._listed: Listed | None = None
        self.n_rebuilds, self.atom_steps = 0, 0
        self._steps, self._steps_since = torch.zeros_like(systems.n_atoms), 0
        self._count()
        self._use(neighbor_list(state, calculator.cutoff, skin))

    def begin(self, frame: State) -> None:
        """Start from a frame that has been evaluated here; systems with nothing finite in it are frozen at once."""
        self.frame = frame
        everything = torch.ones_like(self.active)
        self._fail(self._judge(frame, frame, everything), frame, frame)

    @property
    def n_atoms(self) -> int:
        return self.state.n_atoms

    @property
    def steps(self) -> torch.Tensor:
        """(S,) int64: how many steps each system has taken."""
        return self._steps + self._steps_since * self.active

    @property
    def listed(self) -> Listed:
        """The neighbour list as pair potentials take it."""
        assert self._listed is not None
        return self._listed

    def use_compiled(self, step: CompiledStep[State]) -> None:
        """Take steps by a compiled function from here on."""
        self._compiled = step

    def evaluate(self, positions: torch.Tensor, cell: torch.Tensor) -> Evaluation:
        """Energy, forces and virial with the neighbour list as it is; no virial where the mover needs none."""
        if self._by_rows is not None:
            return Evaluation(*self._by_rows(positions, cell, self.mover.moves_cell)[:3])
        if self._terms is not None:
            assert self._listed is not None
            return pair_evaluation(self._terms, self._listed, self.systems, positions, cell)
        values = self.calculator.potential(
            self.state.replace(positions=positions, cell=cell), self.neighbors, self.outputs, atom_types=self.types
        )
        virial = values["virial"] if "virial" in values else torch.full_like(cell, float("nan"))
        return Evaluation(values["energy"], values["forces"], virial)

    def step(self) -> None:
        """One step of every active system."""
        while True:
            new, flags, done = self._advance()
            wild, stale, broken, any_done = flags.tolist()
            if not (wild or stale or broken) or self._settled(new):
                break
        self.done, self.any_done = done, any_done
        self.frame = new.where(self.active, self.systems.system_index, self.frame) if wild or broken else new
        self._steps_since += 1
        self.most_steps += 1
        self.atom_steps += self.n_active_atoms

    def freeze(self, systems: torch.Tensor, status: Status, reason: str = "") -> None:
        """Take no further steps with some systems (S,) bool, which end with a status."""
        for s in (systems & self.active).nonzero()[:, 0].tolist():
            self.ended[s] = status, reason
        self._steps, self._steps_since = self.steps, 0
        self.active = self.active & ~systems
        self._count()

    def _count(self) -> None:
        """What of the active systems is known on the host: their atoms, and the most steps one of them has taken."""
        self.any_active = bool(self.active.any())
        self.n_active_atoms = int(self.systems.n_atoms[self.active].sum())
        self.most_steps = int(self.steps[self.active].max()) if self.any_active else 0

    def exchange(self, keep: torch.Tensor, arrivals: Loop[State] | None) -> None:
        """Let all systems but those to `keep` (int64, in order) go, and let those of another loop come behind them."""
        atoms = (self.systems.of_atoms(torch.zeros_like(self.active).index_fill(0, keep, True))).nonzero()[:, 0]
        states, systems = [select(self.moved_state(), keep)], [self.systems.take(atoms, keep)]
        frames, lists = [self.frame.take(atoms, keep)], [taken(self.neighbors, keep)]
        goals = [] if self.goal is None else [self.goal.take(atoms, keep)]
        steps = [self.steps[keep]]
        if arrivals is not None:
            states.append(arrivals.state)
            systems.append(arrivals.systems)
            frames.append(arrivals.frame)
            lists.append(arrivals.neighbors)
            goals += [] if arrivals.goal is None else [arrivals.goal]
            steps.append(arrivals.steps)
        self.state, self.systems = concatenate(states), Systems.join(systems)
        self.types = self.calculator.type_map(self.state)
        self.frame = type(self.frame).join(frames)
        self._steps, self._steps_since = torch.cat(steps), 0
        self.goal = Goal.join(goals) if goals else None
        self.active = torch.ones_like(self.systems.fixed_com)
        self.ended = {}
        self._count()
        self._use(joined(lists))

    def moved_state(self) -> SimState:
        """The state with the positions and cells of the frame."""
        return self.state.replace(positions=self.frame.positions, cell=self.frame.cell)

    def warn_of_overlaps(self, closest: float = 0.1) -> None:
        """One warning that names systems with atoms closer than `closest` (A)."""
        vectors = self.neighbors.edge_vectors(self.state.positions, self.state.cell)
        near = vectors.square().sum(1) < closest**2
        if bool(near.any()):
            systems = self.systems.system_index[self.neighbors.edge_index[0, near]].unique()
            ids = self.systems.system_id[systems].tolist()
            listed = ", ".join(map(str, ids[:5])) + (" ..." if len(ids) > 5 else "")
            warnings.warn(f"atoms are closer than {closest:g} A in system {listed}", ShoalWarning, stacklevel=3)

    def _advance(self) -> tuple[State, torch.Tensor, torch.Tensor]:
        if self._compiled is not None:
            assert self._listed is not None
            return self._compiled(self.frame, self.systems, self.active, self._listed, self.goal, self.evaluate)
        return advance(
            self.mover,
            self.frame,
            self.systems,
            self.active,
            self.evaluate,
            self.neighbors.used_skin,
            self.neighbors.carried,
            self.limits,
            None if self.goal is None else partial(is_done, self.mover, self.systems, self.goal),
        )

    def _settled(self, new: State) -> bool:
        """Freeze what went wrong; whether the step stands for the others, or must be taken again with a new list."""
        share = self.neighbors.used_skin(new.positions, new.cell)
        stale = self._any(~(share <= 1)) & self.active
        self._fail(self._judge(new, self.frame, ~stale), new, self.frame)
        stale = stale & self.active
        if not bool(stale.any()):
            return True
        self._renew(stale, new)
        return False

    def _renew(self, stale: torch.Tensor, new: State) -> None:
        """Find pairs anew at the frame the step starts from, for systems that are due and those that soon will be."""
        before = self.neighbors.used_skin(self.frame.positions, self.frame.cell)
        half_used = self._any(before > 0.5) & self.active
        state = self.moved_state()
        hopeless = stale & ~self._any(before > 0)
        if bool(hopeless.any()):
            # even a new list does not hold for this one step: it needs a wider skin, for as long as that lasts
            if self.neighbors.skin >= WIDEST_SKIN:
                self.freeze(hopeless, Status.EXPLODED, "one step moves it farther than a neighbour list can follow")
                return
            self._use(neighbor_list(state, self.calculator.cutoff, min(2 * self.neighbors.skin, WIDEST_SKIN)))
        elif self.neighbors.skin > self.skin:
            self._use(neighbor_list(state, self.calculator.cutoff, self.skin))
        else:
            self._use(refreshed(self.neighbors, state, stale | half_used))

    def _use(self, neighbors: NeighborList) -> None:
        self.neighbors = neighbors.of_state(self.state)
        self._listed = Listed.of(self.neighbors, self.types, with_pairs=self._terms is not None)
        self._by_rows = self.calculator.potential.by_rows(self.state, self.neighbors, self.types)
        self.n_rebuilds += 1

    def _judge(self, new: State, old: State, trusted: torch.Tensor) -> torch.Tensor:
        """(S,) bool: active systems that went wrong; results count where the list was good enough to be `trusted`."""
        wild = self._any(wild_atoms(new, old, self._carried(new, old), self.limits))
        broken = self._any(torn_atoms(new, self.systems, self.limits)) | broken_systems(new)
        return self.active & (wild | (broken & trusted))

    def _fail(self, systems: torch.Tensor, new: State, old: State) -> None:
        for s in systems.nonzero()[:, 0].tolist():
            self.freeze(torch.arange(len(systems), device=systems.device) == s, *self._verdict(s, new, old))

    def _verdict(self, s: int, new: State, old: State) -> tuple[Status, str]:
        rows = slice(*self.state.offsets[s : s + 2].tolist())
        moved = (new.positions - old.positions - self._carried(new, old))[rows].norm(dim=1)
        force = new.forces[rows].norm(dim=1)
        for name, values in (("position", moved), ("force", force)):
            if not bool(torch.isfinite(values).all()):
                atom = int((~torch.isfinite(values)).nonzero()[0])
                return Status.NON_FINITE, f"the {name} of atom {atom} is not finite"
        for name, value in (("energy", new.energy[s]), ("cell", new.cell[s])):
            if not bool(torch.isfinite(value).all()):
                return Status.NON_FINITE, f"the {name} is not finite"
        if bool((moved > self.limits.max_move).any()):
            return Status.EXPLODED, (
                f"atom {int(moved.argmax())} moved {float(moved.max()):.3g} A in one step "
                f"(limit {self.limits.max_move:g} A)"
            )
        force = torch.where(self.systems.fixed[rows], 0.0, force)
        return Status.EXPLODED, (
            f"the force on atom {int(force.argmax())} is {float(force.max()):.3g} eV/A "
            f"(limit {self.limits.max_force:g} eV/A)"
        )

    def _carried(self, new: State, old: State) -> torch.Tensor:
        """(N, 3) A: how far the cells' deformation alone has carried the atoms."""
        if not self.mover.moves_cell:
            return torch.zeros_like(new.positions)
        return self.neighbors.carried(new.cell - old.cell)

    def _any(self, atoms: torch.Tensor) -> torch.Tensor:
        """(S,) bool: systems with any of some atoms (N,) bool."""
        return self.systems.sum(atoms.to(torch.float64)) > 0
