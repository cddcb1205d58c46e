"""The tables of the manual are those of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["contract.md", "checking.md"])
def test_a_page_says_what_the_code_says(page: str) -> None:
    made = runpy.run_path(str(FOLDER / "tables.py"))
    assert page in made["PAGES"]
    assert made["filled"](page) == (FOLDER / page).read_text(), "run python docs/tables.py"
