"""The libraries that are kept between runs: where they lie, when they were last used, which go.

Several processes may share the folder. A library's time of change is that of its last use; whoever finds one says so
first, and what was used within the last hour is thrown away by nobody.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from shoal.atomic import TEMPORARY
from shoal.cache import cache_folder
from shoal.errors import CompileError

MOST_DAYS = 90
MOST_BYTES = 1 << 30
IN_USE = 3600.0
"""Seconds after its last use for which a library stays whatever the others take."""
UNFINISHED = 86_400.0
"""Seconds after which what a killed process left half made is no longer anybody's."""

Read = TypeVar("Read")


class Kept(NamedTuple):
    """How many libraries a folder holds, and their bytes."""

    number: int
    size: int


def folder() -> Path:
    """In the cache, or for this process only if there is none."""
    return cache_folder("native") or Path(_scratch().name)


def use(path: Path) -> bool:
    """Whether a library is there; if it is, it counts as used now."""
    try:
        os.utime(path)
    except OSError:  # not there, or another user's
        return path.exists()
    return True


def read(find: Callable[[], Path], reader: Callable[[Path], Read]) -> Read:
    """Of the library that is found or made; once more if another process threw it away in between."""
    path = find()
    try:
        return reader(path)
    except (OSError, CompileError):
        if path.exists():
            raise
        return reader(find())


def kept(where: Path) -> Kept:
    sizes = [size for _, size, _ in _libraries(where)]
    return Kept(len(sizes), sum(sizes))


def prune(where: Path) -> None:
    """Throw away what nobody used for `MOST_DAYS`, and the longest unused of what is more than `MOST_BYTES`."""
    now = time.time()
    libraries = sorted(_libraries(where))
    size = sum(size for _, size, _ in libraries)
    for used, of_this, path in libraries:
        old = now - used > MOST_DAYS * 86_400
        if not old and size <= MOST_BYTES:
            break
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > IN_USE:  # as it is now: another process may have found it since
                path.unlink()
                size -= of_this
    for path in where.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if now - path.stat().st_mtime > UNFINISHED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _libraries(where: Path) -> list[tuple[float, int, Path]]:
    """Time of last use, bytes and path of each."""
    found = []
    for path in where.glob("[!.]*.so"):
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="shoal-native-")
