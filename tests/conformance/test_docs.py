"""The manual lists the checks there are. To write the list anew: python -m tests.conformance.test_docs"""

from __future__ import annotations

from pathlib import Path

from shoal.conformance import CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "checking.md"
START, END = "<!-- checks: written by tests/conformance/test_docs.py -->\n", "<!-- end of checks -->"


def listed() -> str:
    rows = [f"| {one.number} | {one.name} | {one.law} | {one.meaning} |" for one in CHECKS]
    return "\n".join(["| | check | law | if it fails |", "|---|---|---|---|", *rows, ""])


def test_the_manual_lists_every_check() -> None:
    assert PAGE.read_text().split(START)[1].split(END)[0] == listed()


def test_checks_are_numbered_and_named_once() -> None:
    assert [one.number for one in CHECKS] == list(range(1, len(CHECKS) + 1))
    assert len({one.name for one in CHECKS}) == len(CHECKS)


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(START)
    PAGE.write_text(before + START + listed() + END + rest.split(END)[1])
