"""An element the model does not know gives an error that names it."""

from __future__ import annotations

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable, Tally

FOREIGN = ("Og", "Lr", "Pm", "Xe", "U")


def _run(lab: Lab, tally: Tally) -> None:
    subject = lab.subject
    declares = isinstance(subject, PotentialSubject)
    known = set(subject.type_map.species) if isinstance(subject, PotentialSubject) else set()
    foreign = [symbol for symbol in FOREIGN if symbol not in known]
    if not foreign:
        raise NotApplicable("it knows every element")
    atoms = lab.structures["molecule"].copy()
    atoms.symbols[-1] = foreign[0]
    if "type_label" in atoms.arrays:
        atoms.arrays["type_label"][-1] = ""
    try:
        subject.evaluate([atoms])
    except Exception as error:  # any error counts that names the element
        said = f"{type(error).__name__}: {error}"
        tally.require(f"the error names {foreign[0]}; it is {said[:100]!r}", foreign[0] in said, rule="S")
        return
    if not declares:
        raise NotApplicable(f"it declares no elements, and takes {foreign[0]}")
    tally.require(f"{foreign[0]} is refused", False)


CHECK = Check(
    number=20,
    name="unsupported element",
    law="A structure with an element that the model does not know is refused with an error that names the element.",
    meaning="Structures get energies of other elements without a word, or an error that nobody can act on.",
    run=_run,
)
