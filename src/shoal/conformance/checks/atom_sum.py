"""Energies of the atoms sum to the energy."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab, rounding
from shoal.conformance.labelled import additive, ask, is_energy, labelled_subject
from shoal.conformance.tally import NotApplicable, Tally


def _run(lab: Lab, tally: Tally) -> None:
    with suppress(NotApplicable):
        _labelled(lab, tally)
    if tally.items and not lab.subject.gives("atomic_energy"):
        return
    lab.require("atomic_energy")
    for name, atoms, values in lab.each():
        total, energy = float(values["atomic_energy"].sum()), float(values["energy"])
        lab.energies_agree(tally, name, atoms, total, energy, lab.tolerance("sum"), rule="S2")


def _labelled(lab: Lab, tally: Tally) -> None:
    """Of every quantity that is given per atom and per system."""
    subject = labelled_subject(lab)
    assert subject.capabilities is not None
    structures = [lab.structures[name] for name in ("molecule", "triclinic", "slab")]
    tolerance = lab.tolerance("sum")
    for name, support in subject.capabilities.quantities.items():
        if not (additive(subject, name) and {"system", "atom"} <= set(support.sample_kinds)):
            continue
        rows, whole = (ask(subject, structures, name, sample_kind=kind) for kind in ("atom", "system"))
        total = np.zeros_like(whole.values)
        np.add.at(total, rows.samples[:, 0], rows.values)
        # references of energies are no measure of them
        largest = float(np.abs(whole.values).max(initial=0))
        scale = rounding(whole.values) / tolerance if is_energy(name) else largest
        tally.compare(f"labelled {name}", total, whole.values, tolerance, scale=scale, rule="S2")


CHECK = Check(
    number=4,
    name="atom sum",
    law="The energies of the atoms of a system sum to its energy, and so do other quantities but uncertainties.",
    meaning="Energies per atom, and everything that is made of them, are those of another total.",
    run=_run,
)
