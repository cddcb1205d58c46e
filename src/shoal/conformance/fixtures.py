"""A pytest fixture for those who write potentials: `from shoal.conformance.fixtures import conforms`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal.conformance.run import check
from shoal.conformance.verdicts import Report


@pytest.fixture
def conforms() -> Callable[..., Report]:
    """`conforms(model)` is `shoal.check(model)`, and fails the test with what is wrong and what it means to a user."""

    def conforms(model: Any, **options: Any) -> Report:
        report = check(model, **options)
        if not report.passed:
            pytest.fail(f"{report.summary()}\n{report.explain()}", pytrace=False)
        return report

    return conforms
