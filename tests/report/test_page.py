"""A page is one file that fetches nothing and shows text as it is."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from shoal.errors import MissingDependencyError
from shoal.figures import parity, png
from shoal.report.page import Section, Tile, image, preformatted, table, write_page
from shoal.report.provenance import machine, versions
from shoal.report.structure_view import structure_view

LOADS = {"src", "href", "srcset", "data", "poster", "action", "background"}


class Reader(HTMLParser):
    """Tags, what they would load, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.styles: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attributes if name in LOADS]
        if tag == "img":
            self.images.append(dict(attributes))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.text.append(data)
        elif self.open[-1] == "style":
            self.styles.append(data)


def page_of(tmp_path: Path, *parts: str) -> Reader:
    section = Section("One <section>", "Text & more.", parts)
    path = write_page(tmp_path / "page.html", "A < B", "lead", [Tile("0.1 eV/A", "error", True)], [section])
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    return Reader(path.read_text(encoding="utf-8"))


def test_everything_is_inside(tmp_path: Path) -> None:
    crystal = bulk("Si", cubic=True)
    drawing = image(png(parity({"energy": (np.arange(3.0), np.arange(3.0))})), "parity")
    page = page_of(tmp_path, drawing, structure_view(crystal, np.linspace(0, 1, 8), "error, eV/A"))
    assert {"script", "img", "style"} <= set(page.tags)
    assert page.loads
    assert all(target.startswith("data:") for target in page.loads)
    assert not re.search(r"@import|url\((?!['\"]?data:)", "".join(page.styles))


def test_text_is_escaped(tmp_path: Path) -> None:
    page = page_of(tmp_path, table(("<b>", "n"), [("a & b", "1")]), preformatted("if a < b: print('<i>')"))
    text = "".join(page.text)
    for shown in ("A < B", "One <section>", "Text & more.", "a & b", "if a < b: print('<i>')", "0.1 eV/A"):
        assert shown in text
    assert not {"b>", "i", "section"} & set(page.tags)


def test_an_image_has_the_size_of_its_figure(tmp_path: Path) -> None:
    """Three panels 3.4 inches wide, at 96 CSS pixels an inch, whatever the resolution."""
    figure = parity({name: (np.arange(3.0), np.arange(3.0)) for name in ("energy", "forces", "stress")})
    for dpi in (75, 150):
        (found,) = page_of(tmp_path, image(png(figure, dpi), "parity", dpi)).images
        assert abs(int(str(found["width"])) - 3 * 3.4 * 96) <= 2


def test_columns_of_numbers_are_set_apart() -> None:
    html = table(("name", "value"), [("silicon", "-1.5"), ("argon", "nan")])
    assert html.count('<td class="number">') == 2
    assert "<td>silicon</td>" in html
    assert "<tr>" not in table((), [])
    assert "<th" not in table(("", ""), [("a", "b")])


def test_a_tile_shows_its_verdict(tmp_path: Path) -> None:
    tiles = [Tile("1", "good", True), Tile("2", "bad", False), Tile("3", "neither")]
    text = write_page(tmp_path / "tiles.html", "", "", tiles, []).read_text()
    assert re.findall(r'class="(tile|tile [a-z]+)"', text) == ["tile good", "tile bad", "tile"]


def test_a_structure_shows_every_atom_its_number_and_the_twelve_edges_of_its_cell() -> None:
    """Diamond: of the four atoms off the faces one has its 4 neighbours within the cube, the others 1 each."""
    import plotly.graph_objects as go

    drawn = {}

    class Recorded(go.Figure):
        def to_html(self, *args: object, **options: object) -> str:
            drawn["figure"] = self
            return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(go, "Figure", Recorded)
        structure_view(bulk("Si", cubic=True), np.linspace(0, 0.7, 8), "error")
    edges, bonds, atoms = drawn["figure"].data
    lengths = {name: _lengths(trace) for name, trace in (("edges", edges), ("bonds", bonds))}
    np.testing.assert_allclose(lengths["edges"], np.full(12, 5.43))
    np.testing.assert_allclose(lengths["bonds"], np.full(len(lengths["bonds"]), 5.43 * np.sqrt(3) / 4))
    assert len(lengths["bonds"]) == 7
    np.testing.assert_allclose(atoms.marker.color, np.linspace(0, 0.7, 8))
    assert atoms.hovertext[7] == "Si 7<br>error 0.700"


def _lengths(trace: object) -> np.ndarray:
    points = np.stack([trace.x, trace.y, trace.z], axis=1).reshape(-1, 3, 3)  # type: ignore[attr-defined]
    return np.linalg.norm(points[:, 1] - points[:, 0], axis=1)


def test_without_plotly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'shoal\[report\]'"):
        structure_view(bulk("Si"), np.zeros(2), "error")


def test_provenance_names_what_is_installed() -> None:
    found = versions(("torch", "no-such-package"))
    assert list(found) == ["python", "torch"]
    assert {"processor", "cores", "system"} <= set(machine())
