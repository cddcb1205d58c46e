"""A system never feels its batch-mates."""

from __future__ import annotations

import numpy as np

from shoal.conformance.check import Check
from shoal.conformance.lab import Lab
from shoal.conformance.structures import atoms_of
from shoal.conformance.tally import NotApplicable, Tally


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


CHECK = Check(
    number=14,
    name="batch independence",
    law="A system has the same values alone, in a batch with molecules, slabs and crystals, and in any order of it.",
    meaning="A result depends on what else was computed with it, and cannot be reproduced.",
    run=_run,
)
