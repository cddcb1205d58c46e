"""Energies of the atoms sum to the energy."""

from __future__ import annotations

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("atomic_energy")
    for name, atoms, values in lab.each():
        total, energy = float(values["atomic_energy"].sum()), float(values["energy"])
        lab.energies_agree(tally, name, atoms, total, energy, lab.tolerance("sum"), rule="S2")


CHECK = Check(
    number=4,
    name="atom sum",
    law="The energies of the atoms of a system sum to its energy.",
    meaning="Energies per atom, and everything that is made of them, are those of another total.",
    run=_run,
)
