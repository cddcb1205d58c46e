"""Units are converted, values and gradients, each time anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import Table, ask, energies, kinds
from shoal.conformance.tally import NotApplicable, Tally

ENERGIES = {"meV": 1000.0, "kJ/mol": 96.48533212331, "kcal/mol": 23.060547830619, "Ha": 1 / 27.211386245988}
"""One eV in other units, CODATA 2018."""
BOHR = 0.529177210903
"""A"""
MEGA = 1e-6


def _run(lab: Lab, tally: Tally) -> None:
    subject, served = energies(lab)
    structures = [lab.structures[name] for name in ("molecule", "triclinic")]
    each = [(name, *entry) for name, support in served.items() for entry in kinds(support)]
    if not each:
        raise NotApplicable("it declares no sample kinds")
    for name, kind, gradients in each:

        def asked(
            unit: str, name: str = name, kind: str = kind, gradients: tuple[str, ...] = gradients, **more: str
        ) -> Table:
            request = {"unit": unit, "sample_kind": kind, "explicit_gradients": gradients, **more}
            return ask(subject, structures, name, **request)  # type: ignore[arg-type]

        what, plain = f"{name} per {kind}", asked("")
        for unit, factor in ENERGIES.items():
            _compare(tally, f"{unit} of {what}", asked(unit), plain, factor, factor)
        if "positions" in gradients:
            factor = ENERGIES["Ha"]
            _compare(tally, f"Ha and Bohr of {what}", asked("Ha", length_unit="Bohr"), plain, factor, factor * BOHR)
        _compare(tally, f"eV of {what}, after the others", asked("eV"), plain, 1.0, 1.0)
        try:
            mega = asked("MeV")
        except Exception:  # a model may refuse it, by any error; reading it as meV is the fault
            mega = None
        if mega is not None:
            _compare(tally, f"MeV of {what}", mega, plain, MEGA, MEGA)
        for wrong in ("A", "eV/A"):
            tally.require(f"{name} in {wrong} is refused", _refused(asked, wrong))


def _compare(tally: Tally, what: str, got: Table, plain: Table, energy: float, force: float) -> None:
    """Largest relative difference to the plain values times the factors."""
    pairs = {"values": (got.values, plain.values * energy)}
    for name, factor in (("positions", force), ("strain", energy)):
        if name in plain.gradients:
            pairs[f"{name} gradient"] = (got.gradients[name][1], plain.gradients[name][1] * factor)
    for key, (value, expected) in pairs.items():
        largest = float(np.abs(expected).max(initial=0)) or 1.0
        tally.compare(f"{what}, {key}, relative", value / largest, expected / largest, 1e-9)


def _refused(asked: Callable[[str], Table], unit: str) -> bool:
    try:
        asked(unit)
    except Exception:  # a refusal, whatever a foreign model's errors are called
        return True
    return False


CHECK = Check(
    number=19,
    name="units",
    law="A requested unit converts values by it, positions gradients by it per length, and leaves no trace.",
    meaning="Engines in other units get forces that do not belong to the energies, or ones that shrink at each step.",
    run=_run,
)
