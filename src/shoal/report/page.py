"""A page that is one file: its style, figures and scripts are inside it, and it opens without a network."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from shoal.atomic import write_atomically


@dataclass(frozen=True)
class Tile:
    """A headline number; `good` colours it as a verdict."""

    value: str
    label: str
    good: bool | None = None


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph of plain text, and parts made by `image`, `table`, `preformatted` or `structure_view`."""

    title: str
    text: str
    parts: Sequence[str] = ()


def write_page(path: Path, title: str, lead: str, tiles: Sequence[Tile], sections: Sequence[Section]) -> Path:
    """Write the page as HTML and return its path; the file is there only when it is complete."""
    style = files("shoal.report").joinpath("page.css").read_text(encoding="utf-8")
    text = "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>',
            '<div class="tiles">' + "".join(map(_tile, tiles)) + "</div>",
            *map(_section, sections),
            "</body>\n</html>\n",
        ]
    )
    write_atomically(path, text.encode())
    return path


def image(png: bytes, alt: str, dpi: int = 150) -> str:
    """A PNG of so many dots per inch as an image inside the page, in its own size; `alt` says what it shows."""
    width = int.from_bytes(png[16:20], "big") * 96 // dpi  # PNG 1.2, section 4.1.1
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" width="{width}" src="data:image/png;base64,{data}">'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, without a head where `heads` are empty; columns that hold numbers are set flush right."""
    numeric = [all(_is_number(row[k]) for row in rows) for k in range(len(heads))]
    lines = [_row("th", heads, numeric)] * any(heads) + [_row("td", row, numeric) for row in rows]
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def preformatted(text: str) -> str:
    """Commands or a file, as they are."""
    return f"<pre>{escape(text)}</pre>"


def _tile(tile: Tile) -> str:
    verdict = {None: "", True: " good", False: " bad"}[tile.good]
    return f'<div class="tile{verdict}"><b>{escape(tile.value)}</b><span>{escape(tile.label)}</span></div>'


def _section(section: Section) -> str:
    return "\n".join([f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.text)}</p>", *section.parts])


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    kinds = [' class="number"' if number else "" for number in numeric]
    return "<tr>" + "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"


def _is_number(cell: str) -> bool:
    return re.match(r"[+-]?\d|nan|-?$", cell) is not None
