"""Tensors of another layout or precision give the right numbers or are refused."""

from __future__ import annotations

import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.potential_subject import PotentialSubject, unpack
from shoal.conformance.tally import NotApplicable, Tally
from shoal.errors import ShoalError
from shoal.state import SimState


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    if not isinstance(subject, PotentialSubject):
        raise NotApplicable("ASE structures come in one layout and precision")
    name = "triclinic"
    atoms = lab.structures[name]
    spread = subject.pack([atoms])
    spread = spread.replace(
        positions=spread.positions.T.contiguous().T,
        cell=spread.cell.transpose(1, 2).contiguous().transpose(1, 2),
    )
    single = subject.pack([atoms], torch.float32)
    rounded = atoms.copy()
    rounded.positions = single.positions.double().cpu().numpy()
    rounded.cell[:] = single.cell[0].double().cpu().numpy()
    expected = {"not contiguous": lab.values(name), "float32": subject.evaluate([rounded])[0]}
    given = {"not contiguous": spread, "float32": single}
    limits = {"not contiguous": lab.tolerance("batch"), "float32": max(1e-6, lab.tolerance("batch"))}
    for what, state in given.items():
        results = _answer(subject, state)
        if results is None:
            tally.require(f"{what} is refused", True)
            continue
        values = unpack(results, [len(atoms)])[0]
        lab.unchanged(tally, what, atoms, values, expected[what], limits[what])
        # in single precision a total of 20,000 eV is known to 1 meV
        tally.require(f"{what}: the energy is float64", results["energy"].dtype == torch.float64)


def _answer(subject: PotentialSubject, state: SimState) -> dict[str, torch.Tensor] | None:
    """None if the state is refused."""
    try:
        return subject.run(state)
    except ShoalError:
        return None


CHECK = Check(
    number=24,
    name="layout and float32",
    law="Non-contiguous and float32 inputs give the same numbers, to rounding, or an error; energies are float64.",
    meaning="Transposed cells and single precision give wrong numbers without an error.",
    run=_run,
)
