"""The members of an ensemble average to the energy, and their spread is the uncertainty."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import ask, labelled_subject
from shoal.conformance.tally import NotApplicable, Tally


def _run(lab: Lab, tally: Tally) -> None:
    subject = labelled_subject(lab)
    assert subject.capabilities is not None
    offered = subject.capabilities.quantities
    if not {"energy_ensemble", "energy_uncertainty"} & set(offered):
        raise NotApplicable("it gives neither an ensemble nor an uncertainty")
    structures = [lab.structures[name] for name in ("molecule", "triclinic", "slab")]
    tolerance = lab.tolerance("batch")
    for kind in ("system", "atom"):
        found = {
            name: ask(subject, structures, name, sample_kind=kind).values
            for name in ("energy", "energy_ensemble", "energy_uncertainty")
            if name in offered and kind in offered[name].sample_kinds
        }
        members, spread = found.get("energy_ensemble"), found.get("energy_uncertainty")
        if members is not None and "energy" in found:
            mean = members.mean(-1, keepdims=True)
            tally.compare(f"mean of the members per {kind}", found["energy"], mean, tolerance)
        if spread is not None:
            tally.require(f"the uncertainty per {kind} is not negative", bool((spread >= 0).all()))
        if members is not None and spread is not None and members.shape[-1] > 1:
            expected = members.std(-1, ddof=1, keepdims=True)
            scale = float(np.abs(members).max(initial=0))
            tally.compare(f"uncertainty per {kind}", spread, expected, tolerance, scale=scale, rule="S")


CHECK = Check(
    number=25,
    name="uncertainty",
    law="Uncertainties are not negative; ensemble members average to the energy, and scatter by the uncertainty.",
    meaning="Active learning picks the wrong structures, and error bars belong to another number.",
    run=_run,
)
