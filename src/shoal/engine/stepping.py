"""Whether steps are compiled, and the compiled step that all batches of a run share."""

from __future__ import annotations

import warnings
from typing import Generic, Literal

import torch

from shoal.engine.calculator import BatchCalculator
from shoal.engine.compiled_step import CompiledStep, Listed
from shoal.engine.step import Limits, Mover, State
from shoal.errors import CompileError, InputError, ShoalWarning, UnsupportedRequestError
from shoal.motion import Systems
from shoal.potentials import pair_terms

Compile = Literal["auto", True, False]

EAGER_STEP = 1.5e-3
EAGER_ATOM = 8e-6
WORTH_COMPILING = 30.0
"""Seconds: what an eager step takes, about, with each atom of it, and from how long a run on it is compiled."""


class Stepping(Generic[State]):
    """Decides once for a run, and compiles when the first step is taken.

    `compile`: True raises UnsupportedRequestError for a potential that is no sum of pair potentials and CompileError
    where compiling fails; "auto" compiles what is long enough to pay for it, and goes on uncompiled, with one warning,
    where that fails; False never does.
    """

    def __init__(self, mover: Mover[State], calculator: BatchCalculator, limits: Limits, compile: Compile) -> None:
        if compile not in ("auto", True, False):
            raise InputError(f'compile must be "auto", True or False, got {compile!r}')
        self.mover, self.limits = mover, limits
        self.terms = pair_terms(calculator.potential)
        if compile is True and self.terms is None:
            raise UnsupportedRequestError(
                f"steps with {type(calculator.potential).__name__} are not compiled: only sums of pair potentials are "
                '(compile="auto" or False)'
            )
        self.compile = compile if self.terms is not None else False
        self._step: CompiledStep[State] | None = None

    @property
    def compiled(self) -> bool:
        return self._step is not None

    def compiled_step(self, frame: State, systems: Systems, listed: Listed, n_steps: int) -> CompiledStep[State] | None:
        """The compiled step, for a run of up to `n_steps` from this frame; None for eager steps."""
        if self._step is not None or not self._wanted(n_steps, len(frame.positions)):
            return self._step
        assert self.terms is not None
        step = CompiledStep(self.mover, self.terms, self.limits)
        try:
            step(frame, systems, torch.zeros_like(systems.fixed_com), listed)
        except Exception as error:  # whatever the compiler raises: the eager steps give the same numbers
            said = str(error).strip().splitlines()
            message = f"steps could not be compiled: {said[0] if said else type(error).__name__}"
            if self.compile is True:
                raise CompileError(f"{message}; compile=False runs without") from error
            warnings.warn(f"{message}; going on uncompiled, with the same numbers", ShoalWarning, stacklevel=2)
            self.compile = False
            return None
        self._step = step
        return step

    def _wanted(self, n_steps: int, n_atoms: int) -> bool:
        if self.compile == "auto":
            return n_atoms > 1 and n_steps * (EAGER_STEP + EAGER_ATOM * n_atoms) > WORTH_COMPILING
        return bool(self.compile) and n_atoms > 1
