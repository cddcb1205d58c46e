"""Stress times volume is the slope of the energy in the strain."""

from __future__ import annotations

import numpy as np

from shoal.conformance.check import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("strain_gradient")
    excuse = "" if lab.subject.conservative else "the stress is declared as not conservative"
    tolerance = lab.tolerance("differences")
    for name, atoms, values in lab.each():
        if "strain_gradient" not in values:
            continue
        slope = lab.strained(name).energy.reshape(3, 3)
        tally.compare(f"{name}, virial", values["strain_gradient"], slope, tolerance, declared=excuse)
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume and "stress" in values:
            tally.compare(
                f"{name}, stress times volume",
                values["stress"] * volume,
                slope,
                tolerance,
                declared=excuse,
            )


CHECK = Check(
    number=7,
    name="strain gradient",
    law="Stress times volume, and minus the virial, are the slope of the energy in the strain: r' = r (1 + strain).",
    meaning="Cells relax to the wrong shape and volume, and constant-pressure runs hold another pressure.",
    run=_run,
)
