"""What is declared is delivered."""

from __future__ import annotations

import torch

from shoal.conformance.check import Check
from shoal.conformance.lab import Lab
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import Tally
from shoal.contract import QUANTITIES


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    if not isinstance(subject, PotentialSubject):
        for name, atoms, values in lab.each():
            for key in ("energy", "forces", "atomic_energy"):
                tally.require(f"{name}: {key} is there", key in values or not subject.gives(key))
            if subject.gives("stress") and abs(float(torch.det(torch.tensor(atoms.cell.array)))) > 0:
                tally.require(f"{name}: stress is there", "stress" in values)
        return
    declared = subject.capabilities
    assert declared is not None
    tally.require("energy is among the outputs", "energy" in declared.outputs)
    tally.require("the atomic types are the type names", tuple(declared.atomic_types) == subject.type_map.type_names)
    tally.require("the interaction range reaches the cutoff", declared.interaction_range >= subject.cutoff)
    for names in ([name] for name in lab.names):
        structures = [lab.structures[name] for name in names]
        state = subject.pack(structures)
        for output in subject.outputs:
            results = subject.run(state, outputs=(output,))
            tally.require(f"{output} alone gives {output} alone", set(results) == {output})
            if output in results:
                quantity = QUANTITIES[output]
                rows = state.n_atoms if quantity.scope == "atom" else state.n_systems
                shape, dtype = tuple(results[output].shape), results[output].dtype
                tally.require(f"{names[0]}: {output} has shape {shape}", shape == (rows, *quantity.shape))
                tally.require(f"{output} is float64, it is {dtype}", dtype == torch.float64)
                tally.require(f"{output} is on the model's device", results[output].device == state.device)


CHECK = Check(
    number=2,
    name="declared is delivered",
    law="Every output in the capabilities comes when asked for, alone, in its shape and as float64.",
    meaning="A run that relies on what the model declares stops, or goes on with rows of the wrong atoms.",
    run=_run,
)
