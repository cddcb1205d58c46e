"""The whole demo in small: every step runs, the report has every section, and a poor model is told so."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import shoal
from shoal.demo import run
from shoal.demo.model import compile_package
from shoal.errors import CompileError, MissingDependencyError, QualityError

POOR = {
    "model.l_max": 0,
    "model.num_features": 2,
    "model.radial_mlp_width": 4,
    "training.max_epochs": 1,
}
SECTIONS = [
    "Steps",
    "Learning curve",
    "Held-out frames",
    "Equation of state",
    "Three cells in one call",
    "One batch, or a loop",
    "Where the model is worst",
    "Provenance",
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, QualityError]:
    """A model of two features trained for one epoch, on a machine where nothing compiles."""
    out = tmp_path_factory.mktemp("demo") / "out"
    console = Console(file=io.StringIO(), width=120)

    def no_compiler(*_: Any, **__: Any) -> None:
        raise CompileError("compiling for cpu failed: no working C++ compiler was found.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shoal.deploy.compile_model", no_compiler)
        with pytest.raises(QualityError) as caught:
            run(out, seconds=60, n_cells=3, rounds=1, changes=POOR, console=console)
    return out, console.file.getvalue(), caught.value  # type: ignore[attr-defined]


def test_a_poor_model_fails_and_the_error_names_what_it_missed(failed: tuple[Path, str, QualityError]) -> None:
    _, printed, error = failed
    assert "force RMSE (held out)" in str(error)
    assert "allowed 0.150 eV/A" in str(error)
    assert "FAILED" in printed


def test_the_report_is_written_all_the_same_with_every_section(failed: tuple[Path, str, QualityError]) -> None:
    page = (failed[0] / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == SECTIONS
    assert "tile bad" in page
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!data:)""", outside_scripts)
    assert not re.search(r"<script[^>]*src", page)


def test_each_step_is_listed_with_its_time(failed: tuple[Path, str, QualityError]) -> None:
    steps = re.findall(r"^\[(\d)/9\] [A-Z][a-z ]+\s[\d.]+ s ", failed[1], re.MULTILINE)
    assert steps == list("123456789")


def test_without_a_compiler_it_goes_on_eagerly_and_says_so(failed: tuple[Path, str, QualityError]) -> None:
    out, printed, _ = failed
    assert "going on with the package, which runs eagerly" in printed
    assert "no working C++ compiler was found" in printed
    assert not list(out.glob("*.pt2"))


def test_the_files_it_leaves_can_be_used(failed: tuple[Path, str, QualityError]) -> None:
    out = failed[0]
    energies = shoal.evaluate([str(out / "data" / "validation.xyz")], out / "silicon.shoal").energies
    assert energies.shape == (20,)
    assert {path.name for path in out.iterdir()} == {"data", "report.html", "silicon.shoal", "silicon.yaml", "training"}


def test_the_frame_shown_is_the_worst_in_its_forces(failed: tuple[Path, str, QualityError]) -> None:
    out = failed[0]
    frames = list(shoal.io.read(out / "data" / "validation.xyz"))
    forces = shoal.evaluate(frames, out / "silicon.shoal").forces
    errors = [np.sqrt(np.square(f - a.get_forces()).mean()) for f, a in zip(forces, frames, strict=True)]
    worst = int(np.argmax(errors))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"({frames[worst].info['config_type']}, {1000 * errors[worst]:.0f} meV/A)" in page


def test_a_package_that_compiles_is_used_compiled(
    silicon_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(shutil.copy(silicon_package, tmp_path))
    calls = []
    monkeypatch.setattr("shoal.deploy.compile_model", lambda *paths: calls.append(paths))
    model = compile_package(package)
    assert calls == [(package, model.path)]
    assert model.path.name == "silicon.shoal.pt2"


def test_a_missing_package_is_named_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.demo.pipeline.find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(MissingDependencyError, match=r"plotly: pip install 'shoal\[report\]'"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
