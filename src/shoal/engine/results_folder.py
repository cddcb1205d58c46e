"""A results folder: closed Parquet parts and a journal of what is in none of them yet.

`about.json` says what was run, `part-*.parquet` hold finished systems (columns of `shoal.engine.table`), and
`journal.jsonl` has one line for every finished system that is in no part yet. A process may be killed at any moment:
every line that was flushed, and every part, is there to be read. A folder without a journal is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from shoal.atomic import TEMPORARY, write_atomically
from shoal.contract import QUANTITIES
from shoal.engine.outcome import SystemResult
from shoal.engine.sinks import Sink
from shoal.engine.table import IDENTITY, INTEGERS, array_columns, as_columns, as_row, number_columns
from shoal.errors import InputError, MissingDependencyError
from shoal.files import file_sha256

ABOUT, JOURNAL = "about.json", "journal.jsonl"
SCHEMA = 1
PART_SYSTEMS = 10_000
PART_ATOMS = 1_000_000


class ResultsFolder(Sink):
    """Writes a results folder as results come; used as a context.

    Raises InputError if the folder holds results and neither `overwrite` nor `resume` is set, if it holds anything
    that is not Shoal's, or if what it holds was made with another model or for other outputs.
    """

    def __init__(
        self,
        path: Path,
        outputs: Sequence[str],
        *,
        model: object = None,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        _pyarrow()
        self.path: Path = path
        self.outputs = tuple(outputs)
        self._about = {"shoal_results": SCHEMA, "outputs": list(self.outputs), "model": _model_hash(model)}
        self._rows: list[dict[str, Any]] = []
        self._n_atoms = 0
        self._journal: IO[str] | None = None
        self._overwrite, self._resume = overwrite, resume
        _check_free(path, overwrite=overwrite, resume=resume)
        if resume and (path / ABOUT).exists():
            self._check_same_run()

    def open(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._overwrite:
                _remove_results(self.path)
            if self._resume:
                self._take_up()
            write_atomically(self.path / ABOUT, json.dumps(self._about, indent=1).encode())
            self._journal = open(self.path / JOURNAL, "a")  # noqa: SIM115 (close() closes it)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write there: {error.strerror}") from error

    def write(self, results: Sequence[SystemResult]) -> None:
        assert self._journal is not None
        rows = [as_row(result, self.outputs) for result in results]
        self._journal.writelines(json.dumps(row, default=_to_list, allow_nan=False) + "\n" for row in rows)
        self._journal.flush()
        self._keep(rows)

    def close(self, *, complete: bool) -> None:
        assert self._journal is not None
        if complete and (self._rows or not _parts(self.path)):
            self._close_part()
        self._journal.close()
        if complete:
            (self.path / JOURNAL).unlink()

    def _keep(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows.extend(rows)
        self._n_atoms += sum(row["n_atoms"] for row in rows)
        if len(self._rows) >= PART_SYSTEMS or self._n_atoms >= PART_ATOMS:
            self._close_part()

    def _close_part(self) -> None:
        """The part is complete under its name before the journal forgets its rows."""
        assert self._journal is not None
        parts = _parts(self.path)
        number = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        write_atomically(self.path / f"part-{number:06d}.parquet", _parquet(self._rows, self.outputs))
        self._journal.truncate(0)
        self._rows, self._n_atoms = [], 0

    def _check_same_run(self) -> None:
        before = _read_about(self.path)
        if before["outputs"] != self._about["outputs"]:
            raise InputError(
                f"{self.path} holds {', '.join(before['outputs'])}, asked for {', '.join(self.outputs)}; "
                "resume with the same outputs or write elsewhere"
            )
        if before["model"] != self._about["model"]:
            raise InputError(f"{self.path} was made with another model file; resume with that one or write elsewhere")

    def _take_up(self) -> None:
        """Forget a torn last line and take over what the journal holds."""
        parts = (row for part in _parts(self.path) for row in _read_part(part, ["id", "formula"]))
        done = {int(row["id"]): str(row["formula"]) for row in parts}
        journal = self.path / JOURNAL
        if journal.exists():
            rows = [row for row in _read_journal(journal) if row["id"] not in done]
            write_atomically(journal, b"".join(json.dumps(r, default=_to_list).encode() + b"\n" for r in rows))
            done.update((int(row["id"]), str(row["formula"])) for row in rows)
            self._rows = rows
            self._n_atoms = sum(row["n_atoms"] for row in rows)
        self.done = done


def read_results(path: str | Path) -> dict[str, Any]:
    """The table in a results folder, finished or cut off: columns by name, in the order they were written.

    Numbers are numpy arrays (NaN where a system failed), arrays are lists with None there. Raises InputError.
    """
    folder = Path(path)
    outputs = _read_about(folder)["outputs"]
    rows = [row for part in _parts(folder) for row in _read_part(part)]
    in_parts = {row["id"] for row in rows}
    if (folder / JOURNAL).exists():
        rows += [row for row in _read_journal(folder / JOURNAL) if row["id"] not in in_parts]
    return as_columns(rows, outputs)


def _check_free(path: Path, *, overwrite: bool, resume: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; a results folder needs another name (or end it in .xyz for a file)")
    found = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    kept = [name for name in found if not name.startswith(TEMPORARY)]
    foreign = [name for name in kept if not _is_ours(name)] or (kept if ABOUT not in kept else [])
    if foreign:
        raise InputError(f"{path} is not empty and holds no results ({foreign[0]} ...); choose another name")
    if kept and not (overwrite or resume):
        raise InputError(f"{path} holds results already; choose another name, --resume them or --overwrite them")


def _is_ours(name: str) -> bool:
    return name in (ABOUT, JOURNAL) or name.startswith(TEMPORARY) or (name[:5], name[-8:]) == ("part-", ".parquet")


def _remove_results(folder: Path) -> None:
    """What says that the folder holds results goes last."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == ABOUT):
        if _is_ours(entry.name):
            entry.unlink()


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        if about["shoal_results"] != SCHEMA:
            raise InputError(f"{folder}: results of layout {about['shoal_results']}; this Shoal reads {SCHEMA}")
        return about
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: no results folder (it needs a readable {ABOUT})") from None


def _read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of all complete lines; what follows the last line break was torn off by a kill."""
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1]):
        try:
            yield _with_arrays(json.loads(line))
        except ValueError:
            raise InputError(f"{path}: line {number + 1} is damaged") from None


def _read_part(path: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    _, parquet = _pyarrow()
    try:
        table = parquet.read_table(path, columns=names)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    yield from map(_with_arrays, table.to_pylist())


def _with_arrays(row: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(value) if isinstance(value, list) else value for name, value in row.items()}


def _parquet(rows: Sequence[dict[str, Any]], outputs: Sequence[str]) -> bytes:
    arrow, parquet = _pyarrow()
    fields = [arrow.field(name, arrow.int64() if name in INTEGERS else arrow.string()) for name in IDENTITY]
    fields += [arrow.field(name, arrow.float64()) for name in number_columns(outputs)]
    for name in array_columns(outputs):
        quantity = QUANTITIES[name]
        kind = arrow.float64()
        for size in reversed(quantity.shape):
            kind = arrow.list_(kind, size)
        kind = arrow.list_(kind) if quantity.scope == "atom" else kind
        fields.append(arrow.field(name, kind, metadata={"unit": quantity.unit}))
    data = [arrow.array([_to_list(row[field.name]) for row in rows], field.type) for field in fields]
    out = arrow.BufferOutputStream()
    parquet.write_table(arrow.table(data, schema=arrow.schema(fields)), out)
    return out.getvalue().to_pybytes()


def _to_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _model_hash(model: object) -> str | None:
    """The sha256 of a model file; None for a model in memory, which cannot be told from another."""
    return file_sha256(model) if isinstance(model, str | Path) and Path(model).is_file() else None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "a results folder needs pyarrow: pip install 'shoal[results]' (or write to a file that ends in .xyz)"
        ) from error
    return pyarrow, pyarrow.parquet
