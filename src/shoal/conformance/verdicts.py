"""What a check says: its verdict, what was measured, and what that means to a user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch


class Verdict(StrEnum):
    """How a check ended; only `FAIL` fails a model.

    DECLARED: the law is broken and the capabilities say so. NOTE: a rule that Shoal set where the standard is silent,
    broken by a model that is not Shoal's; `strict` makes it a failure. NOT_APPLICABLE: nothing to judge here.
    """

    PASS = "pass"
    DECLARED = "declared"
    NOTE = "note"
    NOT_APPLICABLE = "not applicable"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One check on one model: the worst value it measured against the tolerance there, where, and why it matters."""

    number: int
    name: str
    law: str
    meaning: str
    verdict: Verdict
    value: float | None = None
    tolerance: float | None = None
    where: str = ""
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All findings on a model, in the order of their numbers; true if none is a failure."""

    model: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    fast: bool = False
    strict: bool = False

    def __bool__(self) -> bool:
        return self.passed

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FAIL)

    def summary(self) -> str:
        """One line: how many checks ended how."""
        counts = Counter(finding.verdict for finding in self.findings)
        ends = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
        return f"{self.model}: {len(self.findings)} checks in {self.seconds:.3g} s: {ends}"

    def explain(self) -> str:
        """The failures, a line each, with what they mean to a user."""
        return "\n".join(f"{f.number} {f.name}: {f.reason} {f.meaning}" for f in self.failures)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; what is not finite is a string."""
        rows = [asdict(finding) for finding in self.findings]
        for row in rows:
            row["verdict"] = str(row["verdict"])
            row.update({key: _finite(row[key]) for key in ("value", "tolerance")})
        how = {"fast": self.fast, "strict": self.strict, "torch": torch.__version__}
        return {"model": self.model, "passed": self.passed, "seconds": self.seconds, **how, "findings": rows}


def _finite(value: float | None) -> float | str | None:
    return value if value is None or abs(value) < float("inf") else str(value)
