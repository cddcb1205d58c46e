"""What is declared is delivered, and what is not is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import labels
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import Tally
from shoal.contract import GRADIENTS, QUANTITIES, OutputRequest
from shoal.errors import UnsupportedRequestError


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    if isinstance(subject, PotentialSubject):
        _declaration(subject, tally)
        for name in lab.names:
            _one_by_one(subject, lab, name, tally)
        _refusals(subject, lab, tally)
        return
    for name, atoms, values in lab.each():
        hollow = abs(np.linalg.det(atoms.cell.array)) == 0
        for key in ("energy", "forces", "atomic_energy", "stress"):
            if subject.gives(key) and not (key == "stress" and hollow):
                tally.require(f"{name}: {key} is there", key in values)


def _declaration(subject: PotentialSubject, tally: Tally) -> None:
    declared = subject.capabilities
    assert declared is not None
    tally.require("energy is among the outputs", "energy" in declared.outputs)
    tally.require("the atomic types are the type names", tuple(declared.atomic_types) == subject.type_map.type_names)
    tally.require("the interaction range reaches the cutoff", declared.interaction_range >= subject.cutoff)


def _one_by_one(subject: PotentialSubject, lab: Lab, name: str, tally: Tally) -> None:
    state = subject.pack([lab.structures[name]])
    for output in subject.outputs:
        results = subject.run(state, outputs=(output,))
        tally.require(f"{output} alone gives {output} alone", set(results) == {output})
        if output in results:
            quantity, value = QUANTITIES[output], results[output]
            rows = state.n_atoms if quantity.scope == "atom" else state.n_systems
            shape = tuple(value.shape)
            tally.require(f"{name}: {output} has shape {shape}", shape == (rows, *quantity.shape))
            tally.require(f"{output} is float64, it is {value.dtype}", value.dtype == torch.float64)
            tally.require(f"{output} is on the model's device", value.device == state.device)


def _refusals(subject: PotentialSubject, lab: Lab, tally: Tally) -> None:
    """A request that is not declared must be refused, not answered with something else."""
    declared = subject.capabilities
    assert declared is not None
    state = subject.pack([lab.structures["molecule"]], with_velocities=True)  # their lack is another error
    missing = [name for name in QUANTITIES if name not in declared.outputs]
    for name in [*missing, "no such output"]:
        tally.require(f"{name!r}, not declared, is refused", _refused(partial(subject.run, state, outputs=(name,))))
    if not declared.quantities:
        return
    undeclared = {"no such quantity": ("no_such_quantity", OutputRequest(), None)}
    for name, support in declared.quantities.items():
        for kind in ("system", "atom"):
            if kind not in support.sample_kinds:
                undeclared[f"{name} per {kind}"] = (name, OutputRequest(sample_kind=kind), None)
            for gradient in (*GRADIENTS, "no_such_gradient"):
                if gradient not in support.explicit_gradients.get(kind, ()):
                    request = OutputRequest(sample_kind=kind, explicit_gradients=(gradient,))
                    undeclared[f"the {gradient} gradient of {name} per {kind}"] = (name, request, None)
        if not support.selected_atoms:
            undeclared[f"{name} of selected atoms"] = (name, OutputRequest(), labels(np.array([[0, 0]]), state))
    for what, (name, request, selected) in undeclared.items():
        refused = _refused(partial(subject.outputs_of, state, {name: request}, selected))
        tally.require(f"{what}, not declared, is refused", refused)


def _refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except UnsupportedRequestError:
        return True
    return False


CHECK = Check(
    number=2,
    name="declared is delivered",
    law="What the capabilities declare comes when asked for, in its shape and as float64; the rest is refused.",
    meaning="A run that relies on what the model declares stops, or goes on with rows of the wrong atoms.",
    run=_run,
)
