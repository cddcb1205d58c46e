"""Zip archives that model files are: whatever is wrong with one is a ModelFileError that names it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shoal.errors import ModelFileError


@contextmanager
def opened_archive(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading. `what` it should be: for the message. Raises ModelFileError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError) as error:
        raise ModelFileError(f"{path}: truncated, damaged or no {what}: {error}") from None


@contextmanager
def whole_archive(path: Path, what: str, mend: str) -> Iterator[zipfile.ZipFile]:
    """`opened_archive` after a look at every member's checksum. `mend`: what to do about damage."""
    with opened_archive(path, what) as archive:
        damaged = archive.testzip()
        if damaged:
            raise ModelFileError(f"{path}: damaged: the checksum of {damaged} is wrong; {mend}")
        yield archive
