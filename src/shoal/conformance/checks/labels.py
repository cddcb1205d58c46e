"""Labelled outputs carry the names, rows and gradients of the standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import halves, kinds, labelled_subject, labels
from shoal.conformance.labels import check_labels
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.structures import atoms_of
from shoal.conformance.tally import Tally
from shoal.contract import OutputRequest

if TYPE_CHECKING:
    from ase import Atoms
    from metatensor.torch import Labels, TensorMap

UPSTREAM = "metatomic::_check_quantities"
UPSTREAM_TAKES = ["systems", "requested", "selected_atoms", "values", "model_dtype", "inputs_or_outputs"]


def _run(lab: Lab, tally: Tally) -> None:
    subject = labelled_subject(lab)
    assert subject.capabilities is not None
    nothing = atoms_of([], np.zeros((0, 3)))
    named = lab.structures
    batches = {
        "a batch": [named["molecule"], nothing, named["slab"]],
        "one structure": [named["molecule"]],
        "no structures": [],
        "a structure without atoms": [nothing],
    }
    for name, support in subject.capabilities.quantities.items():
        for kind, gradients in kinds(support):
            for batch, structures in batches.items():
                sizes = [len(atoms) for atoms in structures]
                selections: dict[str, np.ndarray | None] = {"": None}
                if support.selected_atoms and batch != "one structure":
                    selections |= {", some atoms": halves(sizes)[0], ", no atoms": np.zeros((0, 2))}
                for chosen, selection in selections.items():
                    for asked in {gradients} if chosen else {(), gradients}:
                        request = OutputRequest(sample_kind=kind, explicit_gradients=asked)
                        what = f"{batch}{chosen}, per {kind}" + (f" with {', '.join(asked)}" if asked else "")
                        _one(subject, tally, what, structures, {name: request}, selection)


def _one(
    subject: PotentialSubject,
    tally: Tally,
    what: str,
    structures: Sequence[Atoms],
    requests: Mapping[str, OutputRequest],
    selection: np.ndarray | None,
) -> None:
    state = subject.pack(structures, with_velocities=True)  # which heat fluxes need
    selected = labels(selection, state)
    before = None if selected is None else selected.values.clone()
    try:
        outputs = subject.outputs_of(state, requests, selected)
    except Exception as error:  # any error is the finding
        tally.require(f"{what}: {', '.join(requests)} is given; it raised {type(error).__name__}: {error}", False)
        return
    faults = check_labels(outputs, requests, [len(atoms) for atoms in structures], selected, subject.capabilities)
    for rule, text in faults:
        tally.require(f"{what}: {text} ({rule})", False, rule=rule)
    if selected is not None and before is not None:
        tally.require(f"{what}: the selection is as it was", torch.equal(selected.values, before))
    if not faults:
        refusal = _second_opinion(subject, structures, requests, outputs, selected)
        tally.require(f"{what}: metatomic's own check{refusal}", not refusal)


def _second_opinion(
    subject: PotentialSubject,
    structures: Sequence[Atoms],
    requests: Mapping[str, OutputRequest],
    outputs: dict[str, TensorMap],
    selected: Labels | None,
) -> str:
    """What the reference implementation's checker says against outputs that are right by ours; empty if nothing.

    It is no public operation: a version of metatomic that has it not, or takes other arguments, has no opinion.
    """
    from metatomic.torch import ModelOutput, System

    forms = [[a.name for a in form.arguments] for form in torch._C._jit_get_schemas_for_operator(UPSTREAM)]
    if UPSTREAM_TAKES not in forms:
        return ""
    systems = [
        System(
            types=torch.tensor(atoms.numbers, dtype=torch.int32),
            positions=torch.tensor(atoms.positions),
            cell=torch.tensor(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)),
            pbc=torch.tensor(atoms.pbc),
        ).to(device=subject.potential.device)
        for atoms in structures
    ]
    asked = {
        name: ModelOutput(sample_kind=request.sample_kind, explicit_gradients=list(request.explicit_gradients))
        for name, request in requests.items()
    }
    try:
        torch.ops.metatomic._check_quantities(systems, asked, selected, outputs, "float64", "outputs")
    except RuntimeError as error:
        return f" refuses it: {error}"
    return ""


CHECK = Check(
    number=1,
    name="labels",
    law="Labelled outputs have the keys, samples, components, properties and gradients of the standard (R1-R9, S1-S8).",
    meaning="Engines read rows by name and place: energies and forces go to the wrong atoms, or the run stops.",
    run=_run,
)
