"""The doctor says what works, what does not, and how to mend it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from shoal.cli import doctor

Cli = Callable[..., Result]


def line_of(result: Result, what: str) -> str:
    return next(line for line in result.stdout.splitlines() if what in line)


def test_a_working_machine(shoal_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_CACHE_DIR", str(tmp_path / "cache"))
    result = shoal_cli("doctor", "--fast")
    assert result.exit_code == 0, result.output
    for what in ("python", "torch", "evaluate", "C++ compiler", "native kernels"):
        assert line_of(result, what).startswith("ok")
    assert "argon dimer -0.010400 eV" in result.stdout
    assert str(tmp_path / "cache") in line_of(result, "cache")
    assert str(tmp_path / "cache" / "native") in line_of(result, "kept kernels")
    assert " MB of at most 1074 MB, unused ones 90 days" in line_of(result, "kept kernels")
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"native"}  # kernels it built are of use later
    assert "AOTInductor" not in result.stdout


def test_a_missing_compiler_is_essential_and_mendable(
    shoal_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    result = shoal_cli("doctor", "--fast")
    assert result.exit_code == 1
    assert line_of(result, "C++ compiler").startswith("FAILED")
    assert "apt install g++" in result.stdout
    assert line_of(result, "native kernels").startswith("note")
    assert "1 essential thing does not work" in result.stdout


def test_a_failing_trial_compile_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TRIAL", "raise RuntimeError('no headers here')")
    (finding,) = doctor.aotinductor()
    assert finding.state == "FAILED"
    assert finding.detail == "RuntimeError: no headers here"
    assert finding.mend


def test_a_broken_torch_is_named_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "shoal", "doctor", "--fast"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert any(line.startswith("FAILED  torch") and "libgomp.so.1 is missing" in line for line in lines)
    assert any(line.startswith("ok      C++ compiler") for line in lines)
    assert any(line.startswith("ok      pyarrow") for line in lines)


@pytest.mark.slow
def test_the_trial_compile_runs_here_without_touching_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (finding,) = doctor.aotinductor()
    assert finding.state == "ok", finding.detail
    assert os.listdir(tmp_path) == []


def test_missing_optional_packages_say_which_extra_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", (("no-such-package", "report", "plots"),))
    (finding,) = doctor.optional_packages()
    assert (finding.state, finding.mend) == ("missing", "pip install 'shoal[report]'")


def test_optional_packages_are_the_extras_of_the_project() -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for name, extra, _ in doctor.OPTIONAL:
        assert any(requirement.startswith(name) for requirement in extras[extra]), name


@pytest.mark.parametrize(("variable", "value"), [("SHOAL_CACHE", "0"), ("SHOAL_CACHE_DIR", "{a file}/cache")])
def test_a_cache_that_cannot_be_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, value.replace("{a file}", str(tmp_path / "file")))
    (finding,) = doctor.caches()
    assert finding.state == "note"
