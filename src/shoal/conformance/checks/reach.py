"""Atoms farther than the declared interaction range do not feel each other."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab, rounding
from shoal.conformance.tally import NotApplicable, Tally

MOST_CELLS = 24
PUSH = np.array([0.17, 0.11, -0.07])


def _run(lab: Lab, tally: Tally) -> None:
    reach = lab.subject.interaction_range
    if not lab.subject.gives("atomic_energy"):
        lab.require("forces")
    if not np.isfinite(reach):
        raise NotApplicable("it declares no finite interaction range")
    crystal = lab.structures["triclinic"].copy()
    crystal.wrap()
    along = np.linalg.norm(crystal.cell.array[0])
    n_cells = int(np.ceil((reach + 1.0) / along)) + 1
    if n_cells > MOST_CELLS:
        raise NotApplicable(f"its interaction range is {reach:.0f} A")
    rod = crystal.repeat((n_cells, 1, 1))
    rod.pbc = False
    rod.cell[:] = 0
    middle = crystal.positions.mean(0)  # of the first cell: an atom with neighbours on all sides
    one = int(np.argmin(np.linalg.norm(crystal.positions - middle, axis=1)))
    pushed = rod.copy()
    pushed.positions[one] += PUSH
    nearest = np.minimum(*(np.linalg.norm(rod.positions - a.positions[one], axis=1) for a in (rod, pushed)))
    before, after = lab.subject.evaluate([rod])[0], lab.subject.evaluate([pushed])[0]
    if "atomic_energy" in before:
        outside = nearest > reach
        what, key = f"energies of {outside.sum()} atoms beyond {reach:.3g} A", "atomic_energy"
    else:
        outside = nearest > 2 * reach  # a force is felt by all whose energies an atom enters
        what, key = f"forces on {outside.sum()} atoms beyond twice {reach:.3g} A", "forces"
    if not outside.any():
        raise NotApplicable("no atom of the test structure lies beyond its range")
    tolerance = lab.tolerance("unfelt")
    scale = rounding(before[key]) / tolerance
    tally.compare(what, after[key][outside], before[key][outside], tolerance, scale=scale)


CHECK = Check(
    number=17,
    name="interaction range",
    law="Moving an atom leaves the energies of atoms beyond the declared interaction range as they were.",
    meaning="Engines that split space by this range (domain decomposition, unfolded cells) compute other forces.",
    run=_run,
)
