"""Forces are minus the slope of the energy."""

from __future__ import annotations

from shoal.conformance.check import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("forces")
    excuse = "" if lab.subject.conservative else "the forces are declared as not conservative"
    for name, _, values in lab.each():
        slopes = lab.moved(name)
        forces = values["forces"].reshape(-1)[slopes.rows]
        tally.compare(name, forces, -slopes.energy, lab.tolerance("differences"), declared=excuse)


CHECK = Check(
    number=6,
    name="positions gradient",
    law="Forces are minus the slope of the energy in the positions, by central differences of the energy.",
    meaning="Relaxations end at the wrong place, and MD neither conserves energy nor samples the right ensemble.",
    run=_run,
)
