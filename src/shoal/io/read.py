"""Reading structures from any file ASE reads, one at a time."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

PathLike = str | Path


def read(paths: PathLike | Iterable[PathLike], index: str = ":", format: str | None = None) -> Iterator[Atoms]:
    """Stream the structures of files, in order; a pattern such as `runs/*.xyz` is expanded and sorted.

    `index`: which frames of each file (ASE's slice syntax); `format`: ASE's format name where the file's ending
    does not tell. Each structure knows where it came from as `atoms.origin`. Raises InputError, naming the file
    and the frame, when a file is missing, cannot be read or holds no structure.
    """
    for path in expand(paths):
        yield from _read_file(path, index, format)


def expand(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """The files that paths and patterns name, in order. Raises InputError if one names nothing."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise InputError("no files given")
    files: list[Path] = []
    for path in given:
        text = str(path)
        if Path(text).exists():
            files.append(Path(text))
        elif glob.has_magic(text):
            found = sorted(glob.glob(text, recursive=True))
            if not found:
                raise InputError(f"no file matches {text!r}")
            files.extend(map(Path, found))
        else:
            raise InputError(f"file {text!r} does not exist")
    return files


def count_frames(files: Sequence[Path]) -> int | None:
    """How many structures the files hold, if that is quick to find out: only xyz files say it."""
    if any(path.suffix not in (".xyz", ".extxyz") for path in files):
        return None
    total = 0
    for path in files:
        with open(path, "rb") as file:
            for line in file:
                if not line.strip().isdigit():
                    return None if line.strip() else total
                for _ in range(int(line) + 1):
                    next(file, None)
                total += 1
    return total


def _read_file(path: Path, index: str, format: str | None) -> Iterator[Atoms]:
    count = 0
    selection = "" if index == ":" else f" of [{index}]"
    try:
        for atoms in _frames(str(path), index, format):
            atoms.origin = f"{path}, frame {count}{selection}"  # type: ignore[attr-defined]
            count += 1
            yield atoms
    except Exception as error:
        raise InputError(f"{path}: cannot read frame {count}{selection}: {error or type(error).__name__}") from error
    if count == 0:
        raise InputError(f"{path}: holds no structure{selection}")


def _frames(path: str, index: str, format: str | None) -> Iterator[Atoms]:
    import ase.io
    from ase.io.formats import filetype

    format = format or filetype(path)
    if format in ("db", "json"):
        yield from _database_rows(path, index)
    else:
        yield from ase.io.iread(path, index=index, format=format, do_not_split_by_at_sign=True)


def _database_rows(path: str, index: str) -> Iterator[Atoms]:
    """Rows of an ASE database; `info` also holds their key-value pairs and data, which ASE's reader leaves behind."""
    import ase.db
    from ase.io.formats import string2index

    with ase.db.connect(path, serial=True) as database:
        wanted = string2index(index)
        if isinstance(wanted, str):
            raise ValueError(f"{index!r} is no index of frames")
        chosen = range(database.count())[wanted]
        rows = range(chosen, chosen + 1) if isinstance(chosen, int) else chosen
        for row in islice(database.select(), rows.start, rows.stop, rows.step):
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            atoms.info.update(row.data)
            yield atoms
