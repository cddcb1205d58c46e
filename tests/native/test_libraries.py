"""What is kept is used, what is not used goes, and nobody loses what he has just found."""

from __future__ import annotations

import ctypes
import hashlib
import os
import time
from pathlib import Path

import pytest
from tests.native.test_build import TEXT

from shoal.atomic import TEMPORARY
from shoal.errors import CompileError
from shoal.native import build, libraries, load_bytes
from shoal.native.build import _loaded

DAY = 86_400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOAL_CACHE_DIR", str(tmp_path))
    return libraries.folder()


def library(folder: Path, name: str, days: float, size: int = 1000) -> Path:
    """One that was last used so many days ago."""
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_long_unused_goes(cache: Path) -> None:
    for days in (0, 89, 91, 400):
        library(cache, f"{days}.so", days)
    libraries.prune(cache)
    assert names(cache) == {"0.so", "89.so"}


def test_of_too_much_the_longest_unused_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "MOST_BYTES", 2500)
    for days in (1, 4, 2, 3):
        library(cache, f"{days}.so", days)
    libraries.prune(cache)
    assert names(cache) == {"1.so", "2.so"}
    assert libraries.kept(cache) == (2, 2000)


def test_what_is_in_use_stays_however_much_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "MOST_BYTES", 0)
    for minutes in (0, 30, 90):
        library(cache, f"{minutes}.so", minutes / 1440)
    libraries.prune(cache)
    assert names(cache) == {"0.so", "30.so"}


def test_what_another_process_finds_meanwhile_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was old when the folder was read."""
    found = library(cache, "found.so", 100), library(cache, "lost.so", 100)
    listed = libraries._libraries(cache)
    monkeypatch.setattr(libraries, "_libraries", lambda _: listed)
    assert libraries.use(found[0])
    libraries.prune(cache)
    assert names(cache) == {"found.so"}


def test_what_a_killed_process_left_goes(cache: Path) -> None:
    for name, days in ((f"{TEMPORARY}old.so", 2.0), (f"{TEMPORARY}new.so", 0.1)):
        library(cache, name, days)
    folder = cache / f"{TEMPORARY}folder"
    folder.mkdir()
    library(folder, "kernel.so", 2.0)
    os.utime(folder, (time.time() - 2 * DAY,) * 2)
    libraries.prune(cache)
    assert names(cache) == {f"{TEMPORARY}new.so"}


def test_building_prunes_and_finding_counts_as_use(cache: Path) -> None:
    library(cache, "forgotten.so", 100)
    made = build(TEXT.format(21))
    (kept,) = cache.iterdir()
    os.utime(kept, (time.time() - 80 * DAY,) * 2)
    assert build(TEXT.format(21)) == made
    assert time.time() - kept.stat().st_mtime < 60


def test_what_was_thrown_away_in_between_is_made_again(cache: Path) -> None:
    path, calls = cache / "x.so", []

    def find() -> Path:
        calls.append(1)
        if len(calls) > 1:
            path.write_bytes(b"made again")
        return path

    assert libraries.read(find, Path.read_bytes) == b"made again"
    path.write_bytes(b"no library")
    with pytest.raises(CompileError, match="cannot be loaded"):
        libraries.read(lambda: path, _loaded)


@pytest.mark.parametrize("other", ["another library", "half of it", "nothing"])
def test_a_library_from_memory_is_what_is_loaded(other: str, cache: Path) -> None:
    """Whatever lies under its name."""
    right, wrong = build(TEXT.format(22)), build(TEXT.format(23))
    path = cache / f"{hashlib.sha256(right).hexdigest()[:32]}.so"
    path.write_bytes({"another library": wrong, "half of it": right[: len(right) // 2], "nothing": b""}[other])
    loaded = load_bytes(right)
    assert isinstance(loaded, ctypes.CDLL)
    assert loaded.answer() == 22
    assert path.read_bytes() == right
