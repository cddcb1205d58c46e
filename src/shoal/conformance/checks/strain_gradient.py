"""Stress times volume is the slope of the energy in the strain."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.gradients import explicit, implicit, other_energies
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("strain_gradient")
    excuse = "" if lab.subject.conservative else "the stress is declared as not conservative"
    tolerance = lab.tolerance("differences")
    for name, atoms, values in lab.each():
        if "strain_gradient" not in values:
            continue
        slopes = lab.strained(name)
        slope = slopes.energy.reshape(3, 3)
        scale = slopes.scale(slope, tolerance)
        tally.compare(f"{name}, virial", values["strain_gradient"], slope, tolerance, scale=scale, declared=excuse)
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume and "stress" in values:
            tally.compare(
                f"{name}, stress times volume",
                values["stress"] * volume,
                slope,
                tolerance,
                scale=scale,
                declared=excuse,
            )
        for what, stored, members in explicit(lab, "strain", atoms):
            sums = slopes.summed(members)
            if sums is not None:
                expected = sums.reshape(-1, 3, 3)
                turned = bool(np.allclose(stored, expected.transpose(0, 2, 1), rtol=0, atol=tolerance))
                rule = "S5" if turned else ""  # right but for the convention of which axis comes first
                per_row = slopes.scale(expected, tolerance)
                tally.compare(f"{name}, {what}", stored, expected, tolerance, scale=per_row, rule=rule)
        for what, found, expected, noise in other_energies(lab, "strain", atoms):
            scale_of_it = max(float(np.abs(expected).max(initial=0)), noise / tolerance)
            tally.compare(f"{name}, {what}", found, expected, tolerance, scale=scale_of_it)
        passed = implicit(lab, atoms)
        if passed is not None:
            tally.compare(f"{name}, autograd to positions and cell", passed[1], slope, tolerance, scale=scale)


CHECK = Check(
    number=7,
    name="strain gradient",
    law="Stress times volume, and minus the virial, are the slope of the energy in the strain: r' = r (1 + strain).",
    meaning="Cells relax to the wrong shape and volume, and constant-pressure runs hold another pressure.",
    run=_run,
)
