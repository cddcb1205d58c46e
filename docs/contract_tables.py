"""The tables of the page "The contract", made of the table of quantities that the code reads.

python docs/contract_tables.py     writes them into docs/contract.md, between their marks
"""

from __future__ import annotations

import re
from pathlib import Path

from shoal.contract import GRADIENTS, STANDARD

PAGE = Path(__file__).with_name("contract.md")


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


TABLES = {"quantities": quantities, "gradients": gradients, "served": served}


def filled(page: str) -> str:
    """The page with every table made anew."""
    for name, table in TABLES.items():
        marks = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, found = marks.subn(lambda match, table=table: match[1] + table() + "\n" + match[2], page)
        if found != 1:
            raise ValueError(f"{PAGE}: {found} places for the table of {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
