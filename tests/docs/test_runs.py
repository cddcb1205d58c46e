"""The manual names every parameter of every method, every end of a run, and every flag."""

import re
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from shoal.cli._run_options import MDOptions, RelaxOptions, RunOptions
from shoal.cli.bench import bench
from shoal.dynamics import INTEGRATORS, Ramp
from shoal.relaxation import FILTERS, OPTIMIZERS
from shoal.status import Status

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str) -> set[str]:
    """Words in code type outside examples."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


def methods() -> Iterator[tuple[str, type]]:
    yield from (("dynamics.md", kind) for kind in (*INTEGRATORS, Ramp))
    yield from (("relaxing.md", kind) for kind in (*OPTIMIZERS, *(FILTERS[name] for name in FILTERS if name)))


@pytest.mark.parametrize(("page", "kind"), list(methods()), ids=lambda value: getattr(value, "__name__", ""))
def test_every_parameter_of_every_method(page: str, kind: type) -> None:
    assert {kind.__name__, *(field.name for field in fields(kind))} - named(page) == set()


def test_every_end_of_a_run() -> None:
    elsewhere = {Status.TOO_LARGE}
    of_dynamics = {Status.CONVERGED, Status.MAX_STEPS}
    assert {str(status) for status in set(Status) - elsewhere - of_dynamics} - named("dynamics.md") == set()
    assert {str(status) for status in set(Status) - elsewhere - {Status.DONE}} - named("relaxing.md") == set()


@pytest.mark.parametrize("kind", [RelaxOptions, MDOptions], ids=lambda kind: kind.__name__)
def test_every_flag(kind: type[RunOptions]) -> None:
    line = (DOCS / "cli.md").read_text()
    flags = {f"--{name.replace('_', '-')}" for name in set(kind.model_fields) - {"structures"}}
    assert {flag for flag in flags if flag not in line} == set()


def test_every_flag_of_bench() -> None:
    (line,) = (line for line in (DOCS / "cli.md").read_text().splitlines() if line.startswith("| `shoal bench "))
    flags = {f"--{name.replace('_', '-')}" for name in signature(bench).parameters if name != "model"}
    assert {flag for flag in flags if flag not in line} == set()
