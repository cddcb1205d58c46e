"""What the verbs share on the terminal: lines, tables, JSON, and the species map argument."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoal.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Chemical species to the model's atom types, such as Si=Si_type; repeat it or separate by commas. "
        "'identity': types are the elements of the same name. Default: the map stored in the model.",
        metavar="SPECIES=TYPE",
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Such as cpu or cuda. Default: the model's own.")]


def species_map(words: Sequence[str] | None) -> dict[str, str] | bool | None:
    """The argument `chemical_species_to_atom_type_map` from `--map`. Raises InputError."""
    if not words:
        return None
    if list(words) == ["identity"]:
        return True
    pairs = [pair for word in words for pair in word.split(",")]
    mapping: dict[str, str] = {}
    for pair in pairs:
        symbol, equals, name = pair.partition("=")
        if not (symbol and equals and name):
            raise InputError(f"--map takes SPECIES=TYPE, such as Si=Si_type, or identity; got {pair!r}")
        if symbol in mapping:
            raise InputError(f"--map gives {symbol} twice")
        mapping[symbol] = name
    return mapping


def check_writable(option: str, path: Path) -> None:
    """Before a verb's work, not after a minute of it. Raises InputError."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"{option} {path}: no file can be written there")


def error_line(message: str) -> None:
    """One red line on the error stream."""
    _line("error: ", "bold red", message)


def warning_line(message: str) -> None:
    """One yellow line on the error stream."""
    _line("warning: ", "yellow", message)


def _line(label: str, style: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble((label, style), " ".join(message.split()))
    Console(stderr=True).print(text, soft_wrap=True)


def show(*what: Any) -> None:
    """Print on the output stream; strings as they are, never wrapped."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for item in what:
        console.print(Text(item) if isinstance(item, str) else item, soft_wrap=isinstance(item, str))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A plain table; long cells are folded, never cut."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=SIMPLE, title_justify="left", pad_edge=False)
    for head in heads:
        made.add_column(head, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def key_values(content: Mapping[str, Any]) -> Table:
    """Two columns; what is a dict itself has a line for each of its entries."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column()
    made.add_column(overflow="fold")
    for key, value in content.items():
        lines = [f"{k}: {_short(v)}" for k, v in value.items()] if isinstance(value, Mapping) else [_short(value)]
        made.add_row(Text(key, style="bold"), Text("\n".join(lines or ["-"])))
    return made


def _short(value: Any) -> str:
    if value is None or (isinstance(value, Sized) and not len(value)):
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_short(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def as_json(content: Any) -> str:
    """JSON for people and programs."""
    return json.dumps(content, indent=1, default=str)
