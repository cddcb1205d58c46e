"""Whether steps are compiled, and the compiled step that all batches of a run share."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Generic, Literal
from weakref import WeakKeyDictionary

import torch

from shoal.engine.calculator import BatchCalculator
from shoal.engine.compiled_step import CompiledStep
from shoal.engine.loop import Loop
from shoal.engine.step import Limits, Mover, State
from shoal.errors import CompileError, InputError, ShoalWarning, UnsupportedRequestError
from shoal.potentials import Potential, pair_terms

Compile = Literal["auto", True, False]

EAGER_STEP = 1.5e-3
EAGER_ATOM = 8e-6
WORTH_COMPILING = 30.0
"""Seconds: what an eager step takes, about, with each atom of it, and from how long a run on it is compiled."""


_KNOWN: WeakKeyDictionary[Potential, dict[Hashable, CompiledStep[Any]]] = WeakKeyDictionary()
"""Compiled steps of this process, by potential, so that a second run does not compile again."""


class Stepping(Generic[State]):
    """Decides for a run, and compiles where a step like it has not been compiled in this process.

    `compile`: True raises UnsupportedRequestError for a potential that is no sum of pair potentials and CompileError
    where compiling fails; "auto" compiles what is long enough to pay for it, and goes on uncompiled, with one warning,
    where that fails; False never does.
    """

    def __init__(
        self, mover: Mover[State], calculator: BatchCalculator, limits: Limits, compile: Compile, n_steps: int
    ) -> None:
        if compile not in ("auto", True, False):
            raise InputError(f'compile must be "auto", True or False, got {compile!r}')
        self.mover, self.limits, self.n_steps = mover, limits, n_steps
        self.potential = calculator.potential
        self.terms = pair_terms(self.potential)
        if compile is True and self.terms is None:
            raise UnsupportedRequestError(
                f"steps with {type(self.potential).__name__} are not compiled: only sums of pair potentials are "
                '(compile="auto" or False)'
            )
        self.compile = compile if self.terms is not None else False
        self.compiled = False

    def __call__(self, loop: Loop[State]) -> None:
        """Let a loop step compiled, if that is wanted and possible."""
        step = self._known(loop)
        if step is None and self._wanted(loop.n_atoms):
            step = self._made(loop)
        if step is not None and loop.n_atoms > 1 and self.compile is not False:
            loop.use_compiled(step)
            self.compiled = True

    def _known(self, loop: Loop[State]) -> CompiledStep[State] | None:
        try:
            return _KNOWN.get(self.potential, {}).get(self._key(loop))
        except TypeError:  # parameters without a hash
            return None

    def _key(self, loop: Loop[State]) -> Hashable:
        where = (str(loop.calculator.device), torch.get_num_threads())
        # a compiled step holds the potential's numbers: other numbers, or the same tensors changed, are another step
        numbers = tuple((tensor.data_ptr(), tensor._version) for tensor in self.potential.buffers())
        return self.mover.step_key, loop.goal is None, self.limits, numbers, *where

    def _made(self, loop: Loop[State]) -> CompiledStep[State] | None:
        assert self.terms is not None
        step = CompiledStep(self.mover, self.terms, self.limits)
        try:
            step(loop.frame, loop.systems, torch.zeros_like(loop.active), loop.listed, loop.goal)
        except Exception as error:  # whatever the compiler raises: the eager steps give the same numbers
            said = str(error).strip().splitlines()
            message = f"steps could not be compiled: {said[0] if said else type(error).__name__}"
            if self.compile is True:
                raise CompileError(f"{message}; compile=False runs without") from error
            warnings.warn(f"{message}; going on uncompiled, with the same numbers", ShoalWarning, stacklevel=2)
            self.compile = False
            return None
        with suppress(TypeError):
            _KNOWN.setdefault(self.potential, {})[self._key(loop)] = step
        return step

    def _wanted(self, n_atoms: int) -> bool:
        if self.compile == "auto":
            return n_atoms > 1 and self.n_steps * (EAGER_STEP + EAGER_ATOM * n_atoms) > WORTH_COMPILING
        return bool(self.compile) and n_atoms > 1
