"""The tables of the page on the contract are those of the code."""

import runpy
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"


def test_the_page_says_what_the_table_of_quantities_says() -> None:
    made = runpy.run_path(str(PAGE.with_name("contract_tables.py")))
    assert made["filled"](PAGE.read_text()) == PAGE.read_text(), "run python docs/contract_tables.py"
