"""`shoal bench` prints, writes and draws what `shoal.bench` found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from typer.testing import Result

Cli = Callable[..., Result]
QUICK = ("--map", "identity", "--atoms", "8", "--max-atoms", "16", "--steps", "2", "--rounds", "1", "--no-compile")


def test_tables_json_and_plot(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    result = shoal_cli("bench", silicon_package, *QUICK, "--threads", 1, "--json", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert written["threads"] == 1
    assert [batch["n_atoms"] for batch in written["series"][0]["batches"]] == [8, 16]
    for step in written["steps"]:
        assert step["name"] in result.stdout
        assert sum(step["shares"].values()) == pytest.approx(1)
    assert "crystals of 8 atoms: best batch" in result.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_structures_of_a_file(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "mine.xyz", bulk("Si", cubic=True))
    result = shoal_cli("bench", silicon_package, *QUICK, "--structures", tmp_path / "mine.xyz")
    assert result.exit_code == 0, result.output
    assert "1 given structures: best batch" in result.stdout


def test_progress_goes_to_the_error_stream_of_a_terminal(
    shoal_cli: Cli, monkeypatch: pytest.MonkeyPatch, silicon_package: Path
) -> None:
    assert "\u2501" not in shoal_cli("bench", silicon_package, *QUICK).stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = shoal_cli("bench", silicon_package, *QUICK)
    assert "\u2501" in result.stderr
    assert "steps of FIRE, round 1 of 1" in result.stderr
    assert "steps of FIRE, round" not in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--atoms", "8,many"), "--atoms takes whole numbers, such as 8,64; got '8,many'"),
        (("--json", "/nowhere/at/all.json"), "--json /nowhere/at/all.json: no file can be written there"),
        (("--plot", "/"), "--plot /: no file can be written there"),
    ],
)
def test_wrong_options_are_told_before_the_work(
    shoal_cli: Cli, silicon_package: Path, words: tuple[str, ...], message: str
) -> None:
    result = shoal_cli("bench", silicon_package, *QUICK, *words)
    assert result.exit_code == 1
    assert message in result.stderr
