"""Tensors of another layout or precision give the right numbers or are refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import Table, ask, kinds
from shoal.conformance.potential_subject import PotentialSubject, unpack
from shoal.conformance.tally import NotApplicable, Tally
from shoal.contract import OutputRequest
from shoal.errors import ShoalError

if TYPE_CHECKING:
    from ase import Atoms

    from shoal.state import SimState

Answer = TypeVar("Answer")


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
    given = {"not contiguous": (spread, atoms), "float32": (single, rounded)}
    limits = {"not contiguous": lab.tolerance("batch"), "float32": max(1e-6, lab.tolerance("batch"))}
    for what, (state, same) in given.items():
        _labelled(subject, tally, what, state, same, limits[what])
        results = _unless_refused(partial(subject.run, state))
        if results is None:
            tally.require(f"{what} is refused", True)
            continue
        values = unpack(results, [len(atoms)])[0]
        lab.unchanged(tally, what, atoms, values, subject.evaluate([same])[0], limits[what])
        # in single precision a total of 20,000 eV is known to 1 meV
        tally.require(f"{what}: the energy is float64", results["energy"].dtype == torch.float64)


def _labelled(
    subject: PotentialSubject, tally: Tally, what: str, state: SimState, same: Atoms, tolerance: float
) -> None:
    """Labelled energies and gradients against those of the same structure as it is usually given."""
    assert subject.capabilities is not None
    support = subject.capabilities.quantities.get("energy")
    for kind, gradients in kinds(support) if support is not None else ():
        request = {"energy": OutputRequest(sample_kind=kind, explicit_gradients=gradients)}
        outputs = _unless_refused(partial(subject.outputs_of, state, request))
        if outputs is None:
            tally.require(f"{what} is refused by labelled outputs per {kind}", True)
            continue
        found = Table.read(outputs["energy"])
        tally.require(f"{what}: the labelled energy per {kind} is float64", found.values.dtype == np.float64)
        expected = ask(subject, [same], sample_kind=kind, explicit_gradients=gradients).parts([len(same)])
        for key, value in found.parts([len(same)]).items():
            tally.compare(f"{what}, labelled {key} per {kind}", value, expected[key], tolerance)


def _unless_refused(call: Callable[[], Answer]) -> Answer | None:
    """None if what is given is refused."""
    try:
        return call()
    except ShoalError:
        return None


CHECK = Check(
    number=24,
    name="layout and float32",
    law="Non-contiguous and float32 inputs give the same numbers, to rounding, or an error; energies are float64.",
    meaning="Transposed cells and single precision give wrong numbers without an error.",
    run=_run,
)
