"""Moving everything changes nothing."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally

FAR = np.array([11.3, -7.1, 0.37])


def _run(lab: Lab, tally: Tally) -> None:
    tolerance = lab.tolerance("equivariance")
    excuse = "" if lab.subject.conservative else "the forces are declared as not conservative"
    for name, atoms, here in lab.each():
        moved = atoms.copy()
        moved.positions += FAR
        there = lab.subject.evaluate([moved])[0]
        lab.unchanged(tally, name, atoms, there, here, tolerance)
        if "forces" not in here:
            continue
        total = here["forces"].sum(0)
        scale = float(np.abs(here["forces"]).max(initial=0))
        tally.compare(f"{name}, sum of forces", total, np.zeros(3), tolerance, scale=scale, declared=excuse)


CHECK = Check(
    number=9,
    name="translation",
    law="A system that is moved as a whole has the same values, and its forces sum to zero.",
    meaning="Systems drift away by themselves, and results depend on where the origin lies.",
    run=_run,
)
