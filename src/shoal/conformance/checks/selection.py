"""Selected atoms give their own rows; a selection and the rest give the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import additive, ask, energies, halves, kinds
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable, Tally
from shoal.errors import UnsupportedRequestError

NAMES = ("molecule", "triclinic", "slab")


def _run(lab: Lab, tally: Tally) -> None:
    subject, served = energies(lab)
    selectable = {name: support for name, support in served.items() if support.selected_atoms}
    if not selectable:
        raise NotApplicable("it declares that it takes no selection")
    structures = [lab.structures[name] for name in NAMES]
    sizes = [len(atoms) for atoms in structures]
    chosen, rest = halves(sizes)
    for name, support in selectable.items():
        for kind, gradients in kinds(support):

            def asked(
                selected: np.ndarray | None, name: str = name, kind: str = kind, gradients: tuple[str, ...] = gradients
            ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
                request = {"sample_kind": kind, "explicit_gradients": gradients}
                table = ask(subject, structures, name, selected, **request)
                return table.samples, {f"{name} {key}": value for key, value in table.parts(sizes).items()}

            if kind == "atom":
                _rows(asked, chosen, lab, tally)
            elif additive(subject, name):
                _sums(asked, chosen, rest, lab, tally)
    if subject.gives("forces"):
        _weights(lab, subject, tally, chosen)


def _rows(asked: Callable, chosen: np.ndarray, lab: Lab, tally: Tally) -> None:
    """Per atom: the rows that all atoms have, in the order of the selection."""
    (every, whole), (own, part) = asked(None), asked(chosen)
    tally.require("the rows are those selected, in their order", np.array_equal(own, chosen), rule="S1")
    same = sorted(map(tuple, own)) == sorted(map(tuple, chosen))
    tally.require("the rows are those selected", same)
    if same:
        place = {tuple(row): k for k, row in enumerate(every)}
        rows = [place[tuple(row)] for row in own]
        for key, value in part.items():
            tally.compare(f"rows of the selection, {key}", value, whole[key][rows], lab.tolerance("batch"))


def _sums(asked: Callable, chosen: np.ndarray, rest: np.ndarray, lab: Lab, tally: Tally) -> None:
    """Per system: what the selected atoms contribute."""
    whole, first, second, nobody = (asked(s)[1] for s in (None, chosen, rest, np.zeros((0, 2))))
    for key, value in whole.items():
        tally.compare(f"selection and rest, {key}", first[key] + second[key], value, lab.tolerance("batch"))
        tally.compare(f"an empty selection, {key}", nobody[key], np.zeros_like(value), 0.0, rule="S1")
    found = [lab.values(name) for name in NAMES]
    if "energy values" in whole and all("atomic_energy" in values for values in found):
        summed = np.zeros(len(NAMES))
        for s, a in chosen:
            summed[s] += found[int(s)]["atomic_energy"][int(a)]
        tally.compare("energy of the selection", first["energy values"].reshape(-1), summed, lab.tolerance("batch"))


def _weights(lab: Lab, subject: PotentialSubject, tally: Tally, chosen: np.ndarray) -> None:
    """The native face: forces of a selection by energy weights, and of the rest."""
    state = subject.pack([lab.structures[name] for name in NAMES])
    starts = state.offsets.numpy()
    mask = torch.zeros(state.n_atoms, dtype=torch.float64, device=state.device)
    mask[(starts[chosen[:, 0]] + chosen[:, 1]).tolist()] = 1.0
    try:
        first, second = (subject.run(state, outputs=("forces",), weights=weights) for weights in (mask, 1 - mask))
    except UnsupportedRequestError:
        return
    whole = subject.run(state, outputs=("forces",))["forces"].cpu().numpy()
    total = (first["forces"] + second["forces"]).cpu().numpy()
    tally.compare("forces weighted by a selection and by the rest", total, whole, lab.tolerance("batch"))


CHECK = Check(
    number=5,
    name="selected atoms",
    law="A selection gives the rows of its atoms in its order; with the rest it sums to the whole, gradients too.",
    meaning="Domain decomposition, local energies and heat flux count atoms twice or not at all.",
    run=_run,
)
