"""`shoal check` says what `shoal.check` found, in a table, in JSON and by its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from typer.testing import Result

import shoal
from shoal.conformance import CHECKS, check

Cli = Callable[..., Result]


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of all checks one is run."""
    chosen = [one for one in CHECKS if one.name == name]
    monkeypatch.setattr("shoal.conformance.check", partial(check, checks=chosen))


def test_a_package_is_checked_and_every_finding_written(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "findings.json"
    ase.io.write(tmp_path / "mine.xyz", bulk("Si", cubic=True))
    words = ("--fast", "--map", "identity", "--json", out, "--structures", tmp_path / "mine.xyz")
    result = shoal_cli("check", silicon_package, *words)
    assert result.exit_code == 0, result.output
    assert "silicon.shoal: 27 checks in" in result.stdout
    written = json.loads(out.read_text())
    assert written["passed"] is True
    assert (written["shoal"], written["fast"], written["strict"]) == (shoal.__version__, True, False)
    assert [row["number"] for row in written["findings"]] == [one.number for one in CHECKS]
    assert [row["verdict"] for row in written["findings"]].count("fail") == 0
    by_name = {row["name"]: row for row in written["findings"]}
    assert 0 < by_name["positions gradient"]["value"] < by_name["positions gradient"]["tolerance"]
    for one in CHECKS:
        assert f"{one.number}" in result.stdout


def test_a_failure_is_exit_status_1_and_says_what_it_means(shoal_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "smoothness")
    result = shoal_cli("check", "ase.calculators.emt:EMT", "--fast")
    assert result.exit_code == 1
    told = " ".join(result.stdout.split())
    assert "fail: smoothness. Energy and forces change continuously" in told
    assert "MD heats or cools" in told


def test_progress_goes_to_the_error_stream_of_a_terminal(
    shoal_cli: Cli, monkeypatch: pytest.MonkeyPatch, silicon_package: Path
) -> None:
    only(monkeypatch, "finite")
    assert "\u2501" not in shoal_cli("check", silicon_package, "--fast", "--map", "identity").output
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = shoal_cli("check", silicon_package, "--fast", "--map", "identity")
    assert "/27" in result.stderr
    assert "/27" not in result.stdout


@pytest.mark.parametrize("place", ["no/such/folder/findings.json", "."])
def test_where_findings_cannot_be_written_is_said_before_the_checks(shoal_cli: Cli, place: str) -> None:
    result = shoal_cli("check", "missing.shoal", "--json", place)
    assert result.exit_code == 1
    assert f"--json {Path(place)}: no file can be written there" in result.stderr


def test_a_device_means_nothing_to_a_calculator(shoal_cli: Cli) -> None:
    result = shoal_cli("check", "ase.calculators.emt:EMT", "--device", "cpu", "--map", "Cu=Cu")
    assert result.exit_code == 1
    assert "ase.calculators.emt:EMT has its own device and chemical_species_to_atom_type_map" in result.stderr


@pytest.mark.filterwarnings("default::shoal.errors.ShoalWarning")
def test_structures_that_are_left_out_are_told_of(
    shoal_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "finite")
    ase.io.write(tmp_path / "five.xyz", [bulk("Cu", cubic=True)] * 5)
    words = ("--fast", "--structures", tmp_path / "five.xyz")
    result = shoal_cli("check", "ase.calculators.emt:EMT", *words)
    assert "3 of 5 structures are taken" in result.stderr


@pytest.mark.parametrize("model", ["missing.shoal", "no_such_module:factory", "ase.calculators.emt:nothing"])
def test_what_is_no_model_is_one_line(shoal_cli: Cli, model: str) -> None:
    result = shoal_cli("check", model)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert model.split(":")[0] in result.stderr
