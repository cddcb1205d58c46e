"""`shoal test`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoal.cli._show import DeviceOption, MapOption

if TYPE_CHECKING:
    from rich.table import Table

    from shoal.properties import Accuracy

WORST_SHOWN = 5


def assess(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .shoal package or a compiled file.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Labelled structures: files that ASE reads.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for accuracy.json and parity.png.")] = None,
    map: MapOption = None,
    device: DeviceOption = None,
    energy_key: Annotated[str, typer.Option("--energy-key", help="Name of the label.")] = "energy",
    forces_key: Annotated[str, typer.Option("--forces-key", help="Name of the label.")] = "forces",
    stress_key: Annotated[str, typer.Option("--stress-key", help="Name of the label.")] = "stress",
    group_key: Annotated[str, typer.Option("--group-key", help="Entry of info that groups frames.")] = "config_type",
    max_atoms: Annotated[int, typer.Option("--max-atoms", help="Atoms per batch.")] = 1024,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Compare a model with labelled structures: errors in all, by element and by config_type, and the worst frames."""
    from shoal.cli._show import as_json, show, species_map
    from shoal.io import LabelKeys, count_frames, expand
    from shoal.properties import measure_accuracy

    files = expand(data)
    accuracy = measure_accuracy(
        files,
        model,
        keys=LabelKeys(energy=energy_key, forces=forces_key, stress=stress_key),
        group_key=group_key,
        max_atoms=max_atoms,
        device=device,
        chemical_species_to_atom_type_map=species_map(map),
        progress=True,
        n_structures=count_frames(files),
    )
    if json:
        show(as_json(accuracy.to_dict()))
    else:
        show(_errors(accuracy), _worst(accuracy, WORST_COLUMNS if len(files) > 1 else WORST_COLUMNS[:-1]))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "accuracy.json").write_text(as_json(accuracy.to_dict()))
        _plot(accuracy, out / "parity.png")
        if not json:
            show(f"written to {out}: accuracy.json, parity.png")


def _errors(accuracy: Accuracy) -> Table:
    from shoal.cli._show import table
    from shoal.properties.accuracy import UNITS

    rows = [("all", name, value) for name, value in accuracy.total.items()]
    rows += [(symbol, "forces", value) for symbol, value in accuracy.per_element.items()]
    if len(accuracy.per_group) > 1:
        rows += [(group, name, value) for group, of in accuracy.per_group.items() for name, value in of.items()]
    cells = [(who, name, f"{v.mae:.3f}", f"{v.rmse:.3f}", UNITS[name], str(v.n)) for who, name, v in rows]
    heads = ("", "quantity", "MAE", "RMSE", "unit", "numbers")
    return table(heads, cells, title=f"{len(accuracy.frames)} frames")


WORST_COLUMNS = (
    ("frame", "frame"),
    ("group", "group"),
    ("energy_error", "energy meV/atom"),
    ("forces_rmse", "forces RMSE meV/A"),
    ("forces_max", "largest meV/A"),
    ("worst_atom", "atom"),
    ("source", "source"),
)


def _worst(accuracy: Accuracy, columns: Sequence[tuple[str, str]]) -> Table:
    from shoal.cli._show import table

    cells = [[_cell(row[key]) for key, _ in columns] for row in accuracy.worst(WORST_SHOWN)]
    return table([head for _, head in columns], cells, title="worst frames")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plot(accuracy: Accuracy, path: Path) -> None:
    from shoal.errors import MissingDependencyError
    from shoal.figures import parity, save

    try:
        save(parity({name: accuracy.parity(name) for name in accuracy.total}), path)
    except ImportError as error:
        raise MissingDependencyError("the parity plot needs matplotlib: pip install 'shoal[report]'") from error
