"""`shoal check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli._show import DeviceOption, MapOption

if TYPE_CHECKING:
    from rich.table import Table

    from shoal.conformance import Finding, Report

STYLES = {"pass": "green", "fail": "bold red", "declared": "yellow", "note": "yellow", "not applicable": "dim"}


def check(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A .shoal package, a compiled file (Shoal's or NequIP's), or module:factory of an ASE calculator or a "
            "Potential.",
        ),
    ],
    structures: Annotated[
        list[str] | None, typer.Option("--structures", help="File with structures to judge it on too; repeatable.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write every finding to this file.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer structures: seconds instead of a minute.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Shoal's own rules bind foreign models too.")] = False,
    map: MapOption = None,
    device: DeviceOption = None,
) -> None:
    """Hold a model to the output contract: gradients, symmetries, batches, labels, units. Exit status 1 if it fails."""
    from shoal import __version__
    from shoal.cli._show import as_json, check_writable, show, species_map
    from shoal.conformance import check as run
    from shoal.io import read

    if json is not None:
        check_writable("--json", json)
    with _progress_bar() as advance:
        report = run(
            model,
            structures=list(read(structures)) if structures else (),
            fast=fast,
            strict=strict,
            device=device,
            chemical_species_to_atom_type_map=species_map(map),
            progress=advance,
        )
    show(_table(report), *_explained(report), report.summary())
    if json is not None:
        json.write_text(as_json({"shoal": __version__, **report.to_dict()}) + "\n")
    if not report.passed:
        raise typer.Exit(1)


@contextmanager
def _progress_bar() -> Iterator[Callable[[Finding], object]]:
    """How many checks are done and which was last, on the error stream of a terminal; it leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from shoal.conformance import CHECKS

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(CHECKS))
        yield lambda finding: bar.update(task, advance=1, description=finding.name)


def _table(report: Report) -> Table:
    from rich.text import Text

    from shoal.cli._show import table

    made = table(("", "check", "verdict", "measured", "allowed", "where"), ())
    for finding in report:
        measured = (_number(finding.value), _number(finding.tolerance)) if finding.tolerance else ("", "")
        verdict = Text(str(finding.verdict), style=STYLES[finding.verdict])
        made.add_row(str(finding.number), finding.name, verdict, *measured, Text(_where(finding)))
    return made


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _where(finding: Finding) -> str:
    return finding.reason if finding.verdict in ("declared", "not applicable") else finding.where


def _explained(report: Report) -> list[str]:
    """For each failure and note what was found and what that means."""
    told = [finding for finding in report if finding.verdict in ("fail", "note")]
    return [
        f"{finding.verdict}: {finding.name}. {finding.law} {finding.reason} {finding.meaning}\n" for finding in told
    ]
