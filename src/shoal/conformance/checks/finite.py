"""Nothing is NaN or infinite."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    for name, atoms, values in lab.each():
        hollow = abs(np.linalg.det(atoms.cell.array)) == 0
        for key, value in values.items():
            if not (key == "stress" and hollow):
                tally.add(f"{name}: {key}, values that are not finite", np.sum(~np.isfinite(value)), 0)


CHECK = Check(
    number=3,
    name="finite",
    law="All values of ordinary structures are finite; only the stress of a cell without volume is not defined.",
    meaning="One such value ends a relaxation or an MD run, and spoils every average it enters.",
    run=_run,
)
