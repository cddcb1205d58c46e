"""A supercell is that many cells."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.subject import Values
from shoal.conformance.tally import NotApplicable, Tally


def _run(lab: Lab, tally: Tally) -> None:
    periodic = [entry for entry in lab.each() if entry[1].pbc.any() and len(entry[1]) <= 16]
    if not periodic:
        raise NotApplicable("no structure is both periodic and small")
    for name, atoms, here in periodic:
        repeat = np.where(atoms.pbc, (2, 1, 2), 1)
        if atoms.pbc.sum() == 1:
            repeat = np.where(atoms.pbc, 3, 1)
        n = int(repeat.prod())
        large = atoms.repeat(tuple(repeat))
        there = lab.subject.evaluate([large])[0]
        lab.unchanged(tally, f"{n} times {name}", large, there, _times(here, n), lab.tolerance("equivariance"))


def _times(values: Values, n: int) -> Values:
    """What n copies should give; the stress is that of one."""
    per_atom = {key: np.concatenate([values[key]] * n) for key in ("forces", "atomic_energy") if key in values}
    summed = {key: n * values[key] for key in ("energy", "strain_gradient") if key in values}
    return {**values, **per_atom, **summed}


CHECK = Check(
    number=13,
    name="supercell",
    law="A cell repeated n times has n times the energy and virial, and the same forces.",
    meaning="Energies per atom depend on how large a cell was taken, so that no two calculations compare.",
    run=_run,
)
