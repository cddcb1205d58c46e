"""Every Python example of the manual and the README runs, in a folder that holds the files it names."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from tests.potentials.nequip_standin import write_torchscript

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FILES = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(
    silicon_package: Path,
    fused_silicon: Path,
    scripted_silicon: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with the model files and structures that pages speak of."""
    (tmp_path / "demo-out").mkdir()
    (tmp_path / "structures").mkdir()
    models = {".shoal": silicon_package, ".shoal.pt2": fused_silicon, ".shoal.pth": scripted_silicon}
    for ending, source in models.items():
        shutil.copy(source, tmp_path / f"silicon{ending}")
        shutil.copy(source, tmp_path / "demo-out" / f"silicon{ending}")
    write_torchscript(tmp_path / "silicon.nequip.pth")
    shutil.copy(ROOT / "src" / "shoal" / "demo" / "data" / "silicon.xyz", tmp_path / "silicon.xyz")
    write(tmp_path / "structures" / "a.xyz", [bulk("Si", cubic=True), bulk("Si")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda p: p.name)
def test_examples_run(page: Path, workplace: Path) -> None:
    for name, content in FILES.findall(page.read_text()):
        (workplace / name).write_text(content)
    source = "\n".join(BLOCK.findall(page.read_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        exec(compile(source, str(page), "exec"), {"__name__": "example"})


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^(\w+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} == listed
