"""Forces are minus the slope of the energy."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.gradients import explicit, implicit, other_energies
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("forces")
    tolerance = lab.tolerance("differences")
    excuse = "" if lab.subject.conservative else "the forces are declared as not conservative"
    for name, atoms, values in lab.each():
        slopes = lab.moved(name)
        forces = values["forces"].reshape(-1)[slopes.rows]
        scale = slopes.scale(slopes.energy, tolerance)
        tally.compare(name, forces, -slopes.energy, tolerance, scale=scale, declared=excuse)
        for what, stored, members in explicit(lab, "positions", atoms):
            expected = slopes.summed(members)
            if expected is not None:
                found = stored.reshape(len(stored), -1)[:, slopes.rows]
                tally.compare(f"{name}, {what}", found, expected, tolerance, scale=slopes.scale(expected, tolerance))
        for what, found, expected, noise in other_energies(lab, "positions", atoms):
            scale_of_it = max(float(np.abs(expected).max(initial=0)), noise / tolerance)
            tally.compare(f"{name}, {what}", found, expected, tolerance, scale=scale_of_it)
        passed = implicit(lab, atoms)
        if passed is not None:
            gradient = passed[0].reshape(-1)[slopes.rows]
            tally.compare(f"{name}, autograd", gradient, slopes.energy, tolerance, scale=scale)


CHECK = Check(
    number=6,
    name="positions gradient",
    law="Forces, explicit gradients and autograd give the slope of the energy in positions, by central differences.",
    meaning="Relaxations end at the wrong place, and MD neither conserves energy nor samples the right ensemble.",
    run=_run,
)
