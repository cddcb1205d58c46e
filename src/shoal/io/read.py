"""Reading structures from any file ASE reads, one at a time."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
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


def _read_file(path: Path, index: str, format: str | None) -> Iterator[Atoms]:
    import ase.io

    count = 0
    try:
        for atoms in ase.io.iread(path, index=index, format=format):
            atoms.origin = f"{path}, frame {count}"  # type: ignore[attr-defined]
            count += 1
            yield atoms
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot read frame {count}: {error or type(error).__name__}") from error
    if count == 0:
        raise InputError(f"{path}: holds no structure")
