"""The same call gives the same answer, and an answer stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import tensors
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import Tally

if TYPE_CHECKING:
    from shoal.state import SimState


def _run(lab: Lab, tally: Tally) -> None:
    subject, name = lab.subject, "triclinic"
    atoms, other = lab.structures[name], lab.structures["molecule"].copy()
    other.positions *= 1.01
    if not isinstance(subject, PotentialSubject):
        first = subject.evaluate([atoms])[0]
        subject.evaluate([other])
        again = subject.evaluate([atoms])[0]
        for key in first:
            tally.compare(f"{name}, {key}, again", again[key], first[key], lab.tolerance("batch"))
        return
    exact = subject.potential.device.type == "cpu"  # sums of a GPU have no fixed order
    tolerance = 0.0 if exact else lab.tolerance("batch")
    nearly = atoms.copy()
    nearly.positions *= 0.99
    for call in (subject.run, partial(tensors, subject)):
        _again(call, [subject.pack([one]) for one in (atoms, nearly, other)], name, tally, tolerance)


def _again(
    call: Callable[[SimState], dict[str, torch.Tensor]],
    states: list[SimState],
    name: str,
    tally: Tally,
    tolerance: float,
) -> None:
    """The first state before and after the others."""
    held = call(states[0])
    copies = {key: value.clone() for key, value in held.items()}
    for state in states[1:]:
        call(state)
    for key, value in held.items():  # before the same call could write the same again
        tally.compare(f"{name}, {key} of the first call after others", _array(value), _array(copies[key]), 0.0)
    for key, value in call(states[0]).items():
        tally.compare(f"{name}, {key}, again", _array(value), _array(copies[key]), tolerance)
    places = [value.data_ptr() for value in held.values() if value.numel()]
    tally.require("no two outputs share memory", len(set(places)) == len(places))


def _array(value: torch.Tensor) -> np.ndarray:
    """Undefined stress counts as a value."""
    return torch.nan_to_num(value.detach().cpu().to(torch.float64), nan=1e300).numpy()


CHECK = Check(
    number=18,
    name="repeatable",
    law="The same call gives the same numbers after others, and results are not changed by later calls.",
    meaning="Runs cannot be reproduced or resumed, and results kept for later turn into those of another structure.",
    run=_run,
)
