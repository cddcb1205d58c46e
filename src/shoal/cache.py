"""Where verbs may keep files between runs: under SHOAL_CACHE_DIR, or nowhere with SHOAL_CACHE=0."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path | None:
    """The cache folder (not created), None when SHOAL_CACHE=0 switches it off."""
    if os.environ.get("SHOAL_CACHE", "1") == "0":
        return None
    if chosen := os.environ.get("SHOAL_CACHE_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "shoal"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "shoal"


def cache_folder(name: str) -> Path | None:
    """A folder in the cache, created; None when caching is off or the folder cannot be written."""
    root = cache_root()
    if root is None:
        return None
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


@contextmanager
def inductor_cache() -> Iterator[None]:
    """Inductor's intermediate files go to Shoal's cache, or to a folder that vanishes if caching is off."""
    folder = cache_folder("inductor")
    temporary = None if folder is not None else tempfile.mkdtemp(prefix="shoal-inductor-")
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder or temporary)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
