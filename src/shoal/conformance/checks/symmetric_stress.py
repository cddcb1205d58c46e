"""Stress is symmetric."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("strain_gradient")
    tolerance = lab.tolerance("equivariance")
    excuse = "" if lab.subject.conservative else "the stress is declared as not conservative"
    for name, _, values in lab.each():
        for key in ("strain_gradient", "stress"):
            if key in values and (key != "stress" or np.isfinite(values[key]).all()):
                tally.compare(f"{name}, {key}", values[key], values[key].T, tolerance, declared=excuse)


CHECK = Check(
    number=8,
    name="symmetric stress",
    law="Stress and virial are symmetric, because turning a system costs nothing.",
    meaning="Variable cells turn and shear by themselves, and six components do not hold the stress.",
    run=_run,
)
