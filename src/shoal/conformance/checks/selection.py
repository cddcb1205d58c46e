"""Selected atoms give their own rows; a selection and the rest give the whole."""

from __future__ import annotations

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import Table, ask, energy_support, every_atom, halves
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable, Tally
from shoal.errors import UnsupportedRequestError


def _run(lab: Lab, tally: Tally) -> None:
    subject, support = energy_support(lab)
    if not support.selected_atoms:
        raise NotApplicable("it declares that it takes no selection")
    structures = [lab.structures[name] for name in ("molecule", "triclinic", "slab")]
    sizes = [len(atoms) for atoms in structures]
    chosen, rest = halves(sizes)
    tolerance = lab.tolerance("batch")
    if "atom" in support.sample_kinds:
        gradients = tuple(support.explicit_gradients.get("atom", ()))
        whole = ask(subject, structures, sample_kind="atom", explicit_gradients=gradients)
        part = ask(subject, structures, selected=chosen, sample_kind="atom", explicit_gradients=gradients)
        tally.require("the rows are those selected, in their order", np.array_equal(part.samples, chosen), rule="S1")
        if sorted(map(tuple, part.samples)) != sorted(map(tuple, chosen)):
            tally.require("the rows are those selected", False)
            return
        place = {tuple(row): k for k, row in enumerate(every_atom(sizes))}
        rows = [place[tuple(row)] for row in part.samples]
        for key, value in _parts(part, sizes).items():
            tally.compare(f"rows of the selection, {key}", value, _parts(whole, sizes)[key][rows], tolerance)
    gradients = tuple(support.explicit_gradients.get("system", ()))

    def per_system(selected: np.ndarray | None) -> dict[str, np.ndarray]:
        found = ask(subject, structures, selected=selected, sample_kind="system", explicit_gradients=gradients)
        return _parts(found, sizes)

    whole_sum, first, second = per_system(None), per_system(chosen), per_system(rest)
    for key, value in whole_sum.items():
        tally.compare(f"selection and rest, {key}", first[key] + second[key], value, tolerance)
    own = {
        (s, a): float(v["atomic_energy"][a]) for s, v in enumerate(lab.evaluate(structures)) for a in range(sizes[s])
    }
    energies = np.zeros(len(sizes))
    for s, a in chosen:
        energies[s] += own[int(s), int(a)]
    tally.compare("energy of the selection", first["values"].reshape(-1), energies, tolerance)
    nobody = per_system(np.zeros((0, 2)))
    tally.compare("an empty selection has no energy", nobody["values"], np.zeros_like(nobody["values"]), 0.0, rule="S1")
    _weights(lab, subject, tally, chosen, sizes, tolerance)


def _parts(table: Table, sizes: list[int]) -> dict[str, np.ndarray]:
    parts = {"values": table.values}
    if "positions" in table.gradients:
        parts["positions gradient"] = table.moved_by(sizes)
    if "strain" in table.gradients:
        parts["strain gradient"] = table.gradients["strain"][1]
    return parts


def _weights(
    lab: Lab, subject: PotentialSubject, tally: Tally, chosen: np.ndarray, sizes: list[int], tolerance: float
) -> None:
    """The native face: forces of a selection by energy weights, and of the rest."""
    state = subject.pack([lab.structures[name] for name in ("molecule", "triclinic", "slab")])
    starts = np.cumsum([0, *sizes])
    mask = torch.zeros(state.n_atoms, dtype=torch.float64, device=state.device)
    mask[(starts[chosen[:, 0]] + chosen[:, 1]).tolist()] = 1.0
    try:
        first, second = (subject.run(state, outputs=("forces",), weights=weights) for weights in (mask, 1 - mask))
    except UnsupportedRequestError:
        return
    whole = subject.run(state, outputs=("forces",))["forces"].cpu().numpy()
    total = (first["forces"] + second["forces"]).cpu().numpy()
    tally.compare("forces weighted by a selection and by the rest", total, whole, tolerance)


CHECK = Check(
    number=5,
    name="selected atoms",
    law="A selection gives the rows of its atoms in its order; with the rest it sums to the whole, gradients too.",
    meaning="Domain decomposition, local energies and heat flux count atoms twice or not at all.",
    run=_run,
)
