"""Tables of the manual that are made of what the code reads: quantities of the contract, and checks.

python docs/tables.py     writes them into their pages, between their marks
"""

from __future__ import annotations

import re
from pathlib import Path

from shoal.conformance import CHECKS
from shoal.contract import GRADIENTS, STANDARD

FOLDER = Path(__file__).parent


def quantities() -> str:
    rows = ["| name | rows | components | property | unit | gradients | meaning |", "|---" * 7 + "|"]
    for q in STANDARD.values():
        count = "0" if q.properties == "one" else "0, 1, ..."
        name = f"`{q.name}`" + "".join(f" (also `{older}`)" for older in q.older)
        cells = [
            name,
            ", ".join(q.sample_kinds),
            ", ".join(f"`{axis}`" for axis in q.components) or "-",
            f"`{q.property}` = {count}",
            q.unit or "-",
            ", ".join(q.gradients) or "-",
            q.meaning,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def gradients() -> str:
    rows = ["| name | samples | components | unit | meaning |", "|---" * 5 + "|"]
    for name, layout in GRADIENTS.items():
        cells = [
            f"`{name}`",
            ", ".join(f"`{column}`" for column in layout.samples),
            ", ".join(f"`{axis}`" for axis in layout.components),
            "unit of the values" + (" / length" if layout.length_power else ""),
            layout.meaning,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def served() -> str:
    rows = ["| name | given by |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{q.name}` | {q.served_by} |" for q in STANDARD.values())])


def checks() -> str:
    rows = ["| | check | law | if it fails |", "|---" * 4 + "|"]
    return "\n".join([*rows, *(f"| {one.number} | {one.name} | {one.law} | {one.meaning} |" for one in CHECKS)])


PAGES = {
    "contract.md": {"quantities": quantities, "gradients": gradients, "served": served},
    "checking.md": {"checks": checks},
}


def filled(name: str) -> str:
    """A page with every table made anew."""
    page = (FOLDER / name).read_text()
    for mark, table in PAGES[name].items():
        place = re.compile(f"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, found = place.subn(lambda match, table=table: match[1] + table() + "\n" + match[2], page)
        if found != 1:
            raise ValueError(f"{name}: {found} places for the table of {mark}")
    return page


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / name).write_text(filled(name))
