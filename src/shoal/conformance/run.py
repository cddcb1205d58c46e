"""`check`: every check on one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from shoal.conformance.base import Check
from shoal.conformance.checks import CHECKS
from shoal.conformance.lab import Lab
from shoal.conformance.open import subject_of
from shoal.conformance.structures import default_structures
from shoal.conformance.subject import Malformed
from shoal.conformance.tally import NotApplicable, Tally
from shoal.conformance.verdicts import Finding, Report, Verdict

if TYPE_CHECKING:
    from ase import Atoms


def check(
    model: Any,
    *,
    structures: Sequence[Atoms] = (),
    fast: bool = False,
    strict: bool = False,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
    checks: Iterable[Check] = CHECKS,
    progress: Callable[[Finding], object] | None = None,
) -> Report:
    """Hold a model to the output contract, law by law.

    `model`: a file (package, compiled, NequIP's compiled), a Potential, a BatchCalculator, an ASE calculator, or
    "module:factory" of one. `structures` join the small ones that are built for the model's species. `fast`: fewer
    structures. `strict`: rules that Shoal set where the standard is silent bind every model. `progress` is called
    with each finding. What is compared is measured independently of the model's own code: derivatives by
    central differences, turned, repeated and batched structures made by hand.

    Raises InputError for what is no model or has a device or map of its own, ModelFileError for a file that cannot be
    used; whatever goes wrong in a check is its finding.
    """
    start = time.perf_counter()
    subject = subject_of(
        model,
        device=device,
        chemical_species_to_atom_type_map=chemical_species_to_atom_type_map,
        structures=structures,
    )
    lab = Lab(subject, default_structures(subject, structures), fast)
    findings = []
    for one in sorted(checks, key=lambda check: check.number):
        findings.append(_finding(one, lab, strict))
        if progress is not None:
            progress(findings[-1])
    return Report(subject.name, tuple(findings), time.perf_counter() - start, fast, strict)


def _finding(one: Check, lab: Lab, strict: bool) -> Finding:
    start = time.perf_counter()
    tally = Tally(lab.subject.ours, strict)
    finding = Finding(one.number, one.name, one.law, one.meaning, Verdict.PASS)
    try:
        one.run(lab, tally)
    except NotApplicable as reason:
        finding = replace(finding, verdict=Verdict.NOT_APPLICABLE, reason=str(reason))
    except Malformed as error:
        finding = replace(finding, verdict=Verdict.FAIL, reason=f"{error}.")
    except Exception as error:  # one check's error is its finding, and stops no other
        finding = replace(finding, verdict=Verdict.FAIL, reason=f"It raised {type(error).__name__}: {error}.")
    else:
        finding = _judged(finding, tally)
    return replace(finding, seconds=time.perf_counter() - start)


def _judged(finding: Finding, tally: Tally) -> Finding:
    verdict, item = tally.verdict()
    if item is None:
        return replace(finding, verdict=verdict, reason="none of the structures is of use here")
    reason = ""
    if verdict is Verdict.PASS and not item.tolerance:
        return replace(finding, verdict=verdict, value=item.value, tolerance=item.tolerance)
    if verdict is Verdict.DECLARED:
        reason = item.declared
    elif verdict is not Verdict.PASS:
        size = f": {item.value:.1e}, allowed are {item.tolerance:.0e}" if item.tolerance else f": {item.value:g}"
        reason = f"Not so: {item.what}." if item.value == float("inf") and not item.tolerance else f"{item.what}{size}."
    return replace(finding, verdict=verdict, value=item.value, tolerance=item.tolerance, where=item.what, reason=reason)
