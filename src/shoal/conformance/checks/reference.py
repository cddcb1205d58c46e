"""A package gives the results that it was packed with."""

from __future__ import annotations

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable, Tally


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    if not isinstance(subject, PotentialSubject) or not subject.reference:
        raise NotApplicable("it carries no results of its own")
    tolerance = lab.tolerance("reference")
    for k, (atoms, expected) in enumerate(subject.reference):
        got = subject.evaluate([atoms])[0]
        what = f"reference structure {k}"
        lab.energies_agree(tally, what, atoms, float(got["energy"]), float(expected["energy"]), tolerance)
        for key, value in expected.items():
            if key != "energy":
                tally.compare(f"{what}, {key}", got[key], value, tolerance)


CHECK = Check(
    number=26,
    name="own reference",
    law="A package gives the energies, forces and stresses of its reference structures that are stored in it.",
    meaning="The file is not the model that was trained: it was changed, or this version computes something else.",
    run=_run,
)
