"""The force Jacobian is symmetric."""

from __future__ import annotations

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("forces")
    excuse = "" if lab.subject.conservative else "the forces are declared as not conservative"
    for name, _, _ in lab.each():
        slopes = lab.moved(name)
        assert slopes.forces is not None
        jacobian = slopes.forces.reshape(len(slopes.rows), -1)[:, slopes.rows]
        tally.compare(name, jacobian, jacobian.T, lab.tolerance("differences"), declared=excuse)


CHECK = Check(
    number=21,
    name="force Jacobian",
    law="How force a changes with coordinate b is how force b changes with coordinate a.",
    meaning="The forces derive from no energy: an NVE run heats or cools steadily, however small its timestep.",
    run=_run,
)
