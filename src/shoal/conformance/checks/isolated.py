"""Atoms alone, two atoms at any distance, and nothing at all."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.structures import atoms_of, radius
from shoal.conformance.tally import Tally

if TYPE_CHECKING:
    from ase import Atoms

N_DISTANCES = 16


def _run(lab: Lab, tally: Tally) -> None:
    tolerance = lab.tolerance("batch")
    own = {}
    for species in lab.species if lab.fast else lab.subject.species:
        values = lab.subject.evaluate([atoms_of([species], np.zeros((1, 3)))])[0]
        own[species] = float(values["energy"])
        tally.require(f"a lone {species} has a finite energy", bool(np.isfinite(own[species])))
        if "forces" in values:
            tally.compare(f"a lone {species}, forces", values["forces"], np.zeros((1, 3)), tolerance)
    far = max(12.0, 1.2 * lab.subject.cutoff) if np.isfinite(lab.subject.cutoff) else 12.0
    for a, b in combinations_with_replacement(lab.species, 2):
        distances = np.geomspace(0.4 * (radius(a) + radius(b)), far, N_DISTANCES)
        dimers = [atoms_of([a, b], np.array([[0, 0, 0], [0, d, 0]])) for d in distances]
        for d, values in zip(distances, lab.evaluate(dimers), strict=True):
            what, forces = f"{a}-{b} at {d:.2f} A", values.get("forces", np.zeros((2, 3)))
            finite = bool(np.isfinite(values["energy"]) and np.isfinite(forces).all())
            tally.require(f"{what} is finite", finite)
            if finite:
                pull = np.array([[0, 1, 0], [0, -1, 0]]) * forces[0, 1]
                tally.compare(f"{what}, forces along the bond", forces, pull, lab.tolerance("equivariance"))
                if d > lab.subject.cutoff:
                    tally.compare(f"{what} is two lone atoms", values["energy"], own[a] + own[b], tolerance)
    if lab.subject.batches:
        nothing = atoms_of([], np.zeros((0, 3)))
        _nothing(lab, tally, "no structures", [], [])
        _nothing(lab, tally, "a structure without atoms", [nothing], [0.0])


def _nothing(lab: Lab, tally: Tally, what: str, structures: list[Atoms], energies: list[float]) -> None:
    try:
        found = [float(values["energy"]) for values in lab.subject.evaluate(structures)]
    except Exception as error:  # any error is the finding
        tally.require(f"{what} can be given; it raised {type(error).__name__}: {error}", False, rule="S3")
        return
    tally.require(f"{what} has the energies {energies}, it has {found}", found == energies, rule="S3")


CHECK = Check(
    number=16,
    name="isolated atom and dimers",
    law="A lone atom has a finite energy and no force; two have finite values at any distance, along their axis.",
    meaning="Gases, desorbing atoms and first steps from poor structures end in NaN.",
    run=_run,
)
