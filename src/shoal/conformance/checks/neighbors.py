"""The neighbour list is a way to find pairs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.pairs import all_pairs
from shoal.conformance.potential_subject import PotentialSubject, unpack
from shoal.conformance.tally import NotApplicable, Tally
from shoal.neighbors import NeighborList

if TYPE_CHECKING:
    from ase import Atoms

    from shoal.state import SimState

SKIN = 0.7


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    if not isinstance(subject, PotentialSubject):
        raise NotApplicable("it finds its neighbours itself")
    for name, atoms, here in lab.each():
        state = subject.pack([atoms])
        for what, skin in (("pairs found by trying all images", 0.0), ("a list with skin", SKIN)):
            there = unpack(subject.run(state, _by_hand(atoms, state, subject.cutoff, skin)), [len(atoms)])[0]
            lab.unchanged(tally, f"{name}, {what}", atoms, there, here, lab.tolerance("batch"))


def _by_hand(atoms: Atoms, state: SimState, cutoff: float, skin: float) -> NeighborList:
    i, j, shifts = all_pairs(atoms, cutoff + skin)
    return NeighborList(
        edge_index=torch.tensor(np.stack([i, j]), device=state.device),
        shifts=torch.tensor(shifts, device=state.device),
        system_index=state.system_index,
        positions=state.positions,
        cell=torch.where(state.pbc[:, :, None], state.cell, 0.0),
        pbc=state.pbc,
        cutoff=cutoff,
        skin=skin,
    )


CHECK = Check(
    number=27,
    name="neighbour list",
    law="Pairs found by trying every image, and a list with skin, give the values of the usual list.",
    meaning="Pairs are missed or counted twice in some cells, and results jump when a list is rebuilt.",
    run=_run,
)
