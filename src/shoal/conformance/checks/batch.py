"""A system never feels its batch-mates."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import ask, energies, kinds
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.structures import atoms_of
from shoal.conformance.tally import NotApplicable, Tally
from shoal.contract import Support


def _run(lab: Lab, tally: Tally) -> None:
    if not lab.subject.batches:
        raise NotApplicable("it takes one structure at a time")
    lone = atoms_of(lab.species[:1], np.zeros((1, 3)))
    batch = [*(lab.structures[name] for name in lab.names), lone]
    alone = [*(lab.values(name) for name in lab.names), lab.subject.evaluate([lone])[0]]
    names = [*lab.names, "a lone atom"]
    for what, order in (("in a batch", range(len(batch))), ("in a reversed batch", range(len(batch))[::-1])):
        found = lab.subject.evaluate([batch[k] for k in order])
        for k, values in zip(order, found, strict=True):
            lab.unchanged(tally, f"{names[k]} {what}", batch[k], values, alone[k], lab.tolerance("batch"))
    twice = lab.subject.evaluate([batch[0], batch[0]])
    lab.unchanged(tally, f"{names[0]} beside itself", batch[0], twice[1], alone[0], lab.tolerance("batch"))
    with suppress(NotApplicable):
        _labelled(lab, tally)


def _labelled(lab: Lab, tally: Tally) -> None:
    """Labelled energies and gradients of a batch, each row in its place, are those of its systems alone."""
    subject, served = energies(lab)
    for energy, support in served.items():
        _one_energy(lab, tally, subject, energy, support)


def _one_energy(lab: Lab, tally: Tally, subject: PotentialSubject, energy: str, support: Support) -> None:
    names = ("molecule", "triclinic", "slab")
    sizes = [len(lab.structures[name]) for name in names]
    starts = np.cumsum([0, *sizes])
    for kind, gradients in kinds(support):
        request = {"sample_kind": kind, "explicit_gradients": gradients}
        together = ask(subject, [lab.structures[n] for n in names], energy, None, **request)
        for s, name in enumerate(names):
            alone = ask(subject, [lab.structures[name]], energy, None, **request)
            rows = together.samples[:, 0] == s
            pairs = {energy: (together.values[rows], alone.values)}
            if "positions" in gradients:
                moved = together.moved_by(sizes)[rows]
                own = moved[:, starts[s] : starts[s + 1]]
                pairs["positions gradient"] = (own, alone.moved_by(sizes[s : s + 1]))
                pairs["gradient in other systems"] = (moved.sum(1), own.sum(1))
            if "strain" in gradients:
                pairs["strain gradient"] = (together.gradients["strain"][1][rows], alone.gradients["strain"][1])
            for what, (a, b) in pairs.items():
                tally.compare(f"{name} in a batch, labelled {what} per {kind}", a, b, lab.tolerance("batch"))


CHECK = Check(
    number=14,
    name="batch independence",
    law="A system has the same values alone, in a batch with molecules, slabs and crystals, and in any order of it.",
    meaning="A result depends on what else was computed with it, and cannot be reproduced.",
    run=_run,
)
