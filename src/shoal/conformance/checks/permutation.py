"""The order of atoms does not matter."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.subject import Values
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    for name, atoms, here in lab.each():
        order = np.random.default_rng(3).permutation(len(atoms))
        there = lab.subject.evaluate([atoms[order]])[0]
        lab.unchanged(tally, name, atoms, there, _reordered(here, order), lab.tolerance("equivariance"))


def _reordered(values: Values, order: np.ndarray) -> Values:
    per_atom = ("forces", "atomic_energy")
    return {key: value[order] if key in per_atom else value for key, value in values.items()}


CHECK = Check(
    number=11,
    name="permutation",
    law="Listing the atoms in another order reorders what belongs to them, and nothing else.",
    meaning="The same structure read from another file has another energy.",
    run=_run,
)
