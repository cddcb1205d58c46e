"""Whether steps are compiled, and the compiled step that all batches of a run share."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Generic, Literal
from weakref import WeakKeyDictionary

import torch

from shoal.dynamics import NVE, CellRescaling, Langevin, NoseHoover
from shoal.engine.calculator import BatchCalculator
from shoal.engine.compiled_step import CompiledStep, matrix_terms
from shoal.engine.loop import Loop
from shoal.engine.step import Limits, Mover, State
from shoal.errors import CompileError, InputError, ShoalWarning
from shoal.motion import Evaluation
from shoal.native import threads_for
from shoal.potentials import Potential

Compile = Literal["auto", True, False]

COMPILING = {NVE: 9.0, Langevin: 15.0, NoseHoover: 21.0, CellRescaling: 31.0}
SLOWEST = 50.0
"""Seconds that compiling a step takes, about; an optimizer's is the slowest."""
EAGER_STEP = 1e-4
EAGER_ATOM = 2e-6
EAGER_PAIR = 1e-7
"""What an eager step takes more than a compiled one, about: for each second of compiling, since both grow with the
number of operations, and seconds for each atom and, if the potential is compiled too, for each edge of its list."""

ATOMS_OF_A_THREAD = 512
"""What a mover does with so many atoms is worth a thread: waking one takes some ten microseconds for each kernel."""

_OF_PAIRS: WeakKeyDictionary[Potential, dict[Hashable, CompiledStep[Any]]] = WeakKeyDictionary()
_OF_ANY: dict[Hashable, CompiledStep[Any]] = {}
"""Compiled steps of this process, with a sum of pair potentials and with any potential, so that a second run does not
compile again."""


class Stepping(Generic[State]):
    """Decides for a run, and compiles where a step like it has not been compiled in this process.

    `compile`: True raises CompileError where compiling fails; "auto" compiles what is long enough to pay for it, and
    goes on uncompiled, with one warning, where that fails; False never does.
    """

    def __init__(
        self, mover: Mover[State], calculator: BatchCalculator, limits: Limits, compile: Compile, n_steps: int
    ) -> None:
        if compile not in ("auto", True, False):
            raise InputError(f'compile must be "auto", True or False, got {compile!r}')
        self.mover, self.limits, self.n_steps, self.compile = mover, limits, n_steps, compile
        self.potential = calculator.potential
        self.terms = matrix_terms(self.potential)
        self.compiled, self.threads = False, 0

    def __call__(self, loop: Loop[State]) -> None:
        """Let a loop step compiled, if that is wanted and possible."""
        if self.compile is False or loop.n_atoms < 2:
            return
        if self.threads == 0:  # as the run begins: batches that shrink in its course do not compile anew
            self.threads = threads_for(loop.n_atoms, ATOMS_OF_A_THREAD)
        step = self._known(loop)
        if step is None and (self.compile is True or self._is_worth_it(loop)):
            step = self._made(loop)
        if step is not None:
            loop.use_compiled(step)
            self.compiled = True

    @property
    def _steps(self) -> dict[Hashable, CompiledStep[Any]]:
        return _OF_ANY if self.terms is None else _OF_PAIRS.setdefault(self.potential, {})

    def _known(self, loop: Loop[State]) -> CompiledStep[State] | None:
        try:
            return self._steps.get(self._key(loop))
        except TypeError:  # parameters without a hash
            return None

    def _key(self, loop: Loop[State]) -> Hashable:
        where = (str(loop.calculator.device), self.threads)
        # a step with pairs holds the potential's numbers: other numbers, or the same tensors changed, are another step
        tensors = () if self.terms is None else self.potential.buffers()
        numbers = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        return self.mover.step_key, loop.goal is None, self.limits, numbers, *where

    def _made(self, loop: Loop[State]) -> CompiledStep[State] | None:
        step = CompiledStep(self.mover, self.terms, self.limits, self.threads)
        frame, nothing = loop.frame, torch.zeros_like(loop.active)
        try:
            at = Evaluation(frame.energy, frame.forces, frame.cell)
            step(frame, loop.systems, nothing, loop.listed, loop.goal, lambda positions, cell: at)
        except Exception as error:  # whatever the compiler raises: the eager steps give the same numbers
            said = str(error).strip().splitlines()
            message = f"steps could not be compiled: {said[0] if said else type(error).__name__}"
            if self.compile is True:
                raise CompileError(f"{message}; compile=False runs without") from error
            warnings.warn(f"{message}; going on uncompiled, with the same numbers", ShoalWarning, stacklevel=2)
            self.compile = False
            return None
        with suppress(TypeError):
            self._steps[self._key(loop)] = step
        return step

    def _is_worth_it(self, loop: Loop[State]) -> bool:
        compiling = next((seconds for kind, seconds in COMPILING.items() if isinstance(self.mover, kind)), SLOWEST)
        n_pairs = 0 if self.terms is None else loop.neighbors.n_edges
        return self.n_steps * (EAGER_STEP * compiling + EAGER_ATOM * loop.n_atoms + EAGER_PAIR * n_pairs) > compiling
