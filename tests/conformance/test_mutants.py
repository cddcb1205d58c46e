"""Every check can fail: each fault is caught by the checks that are meant to, and no check lets every fault pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.conformance.faulty_calls import Mumbles
from tests.conformance.faulty_labels import relabelling, reversed_rows
from tests.conformance.faulty_values import Sound, weakened
from tests.conformance.mutants import MUTANTS

from shoal.conformance import CHECKS, Verdict, check

BY_NAME = {one.name: one for one in CHECKS}
TESTED_ELSEWHERE = {"own reference"}  # of packages only: see test_models


@pytest.fixture(autouse=True)
def _grad_mode() -> Iterator[None]:
    with torch.set_grad_enabled(torch.is_grad_enabled()):
        yield


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_is_caught_by_the_checks_that_are_meant_to(name: str) -> None:
    mutant = MUTANTS[name]
    report = check(mutant.make(), checks=[BY_NAME[one] for one in mutant.caught_by], fast=True, strict=True)
    assert {finding.name for finding in report.failures} == mutant.caught_by
    for finding in report.failures:
        assert finding.reason
        assert finding.meaning.endswith(".")


def test_no_check_passes_all_mutants() -> None:
    caught = {one for mutant in MUTANTS.values() for one in mutant.caught_by}
    assert caught | TESTED_ELSEWHERE == set(BY_NAME)


def test_without_a_fault_everything_passes() -> None:
    report = check(Sound(), strict=True)
    assert {finding.verdict for finding in report} <= {Verdict.PASS, Verdict.NOT_APPLICABLE}, report.explain()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.alone])
def test_a_fault_of_one_kind_fails_nothing_else(name: str) -> None:
    report = check(MUTANTS[name].make(), fast=True, strict=True)
    assert {finding.name for finding in report.failures} == MUTANTS[name].caught_by


@pytest.mark.parametrize(("make", "name"), [(relabelling(reversed_rows), "labels"), (Mumbles, "unsupported element")])
def test_what_only_shoal_asks_for_is_a_note_on_a_foreign_model(make, name: str) -> None:  # type: ignore[no-untyped-def]
    report = check(make(), checks=[BY_NAME[name]], fast=True)
    assert report[name].verdict is Verdict.NOTE
    assert report.passed
    assert not check(make(), checks=[BY_NAME[name]], fast=True, strict=True).passed


def test_what_the_capabilities_admit_is_declared() -> None:
    class Admits(Sound):
        def spoil(self, values, state, neighbors):  # type: ignore[no-untyped-def]
            return {**values, **weakened(values, state, neighbors)}

        @property
        def capabilities(self):  # type: ignore[no-untyped-def]
            return super().capabilities.model_copy(update={"conservative": False, "quantities": {}})

    report = check(Admits(), fast=True, strict=True)
    declared = {finding.name for finding in report if finding.verdict is Verdict.DECLARED}
    assert declared == {"translation", "positions gradient", "force Jacobian", "NVE drift"}
    assert report.passed, report.explain()
