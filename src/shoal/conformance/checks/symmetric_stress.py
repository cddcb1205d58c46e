"""Stress is symmetric."""

from __future__ import annotations

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("strain_gradient")
    for name, _, values in lab.each():
        for key in ("strain_gradient", "stress"):
            if key in values and name:
                tensor = values[key]
                if tensor.shape == (3, 3) and (key != "stress" or abs(tensor).max() < float("inf")):
                    tally.compare(f"{name}, {key}", tensor, tensor.T, lab.tolerance("equivariance"))


CHECK = Check(
    number=8,
    name="symmetric stress",
    law="Stress and virial are symmetric, because turning a system costs nothing.",
    meaning="Variable cells turn and shear by themselves, and six components do not hold the stress.",
    run=_run,
)
