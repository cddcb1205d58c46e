"""Building and loading: compiled once for each text, instruction set and compiler."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

from shoal.atomic import TEMPORARY, write_atomically
from shoal.errors import CompileError, MissingCompilerError, ShoalWarning
from shoal.native import libraries
from shoal.native.targets import Target, machine, runnable_targets

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden")
"""Not -ffast-math: NaN must stay NaN."""


@cache
def compiler() -> str:
    """Path of the C++ compiler: CXX, g++, clang++ or c++. Raises MissingCompilerError if there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and (found := shutil.which(name)):
            return found
    raise MissingCompilerError(
        "no C++ compiler was found. Install one (Debian: apt install g++) or set CXX; see shoal doctor."
    )


def build(
    source: str,
    target: Target | None = None,
    defines: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> bytes:
    """The shared library of a C++ text for `target`, by default the best this processor runs.

    `flags` of the compiler beside `FLAGS`, such as folders of headers. Kept in the cache by the hash of text, flags and
    compiler. Raises CompileError with the compiler's first error.
    """
    chosen = target or runnable_targets()[0]
    return libraries.read(lambda: _built(source, chosen, defines or {}, flags), Path.read_bytes)


def load(source: str, defines: Mapping[str, str] | None = None) -> ctypes.CDLL:
    """The library of a C++ text, built for this processor if it is not in the cache, loaded once a process."""
    return libraries.read(lambda: _built(source, runnable_targets()[0], defines or {}), _loaded)


def load_bytes(library: bytes) -> ctypes.CDLL:
    """A library that was built before, from memory: whatever a file of its name holds, this is what is loaded."""
    path = libraries.folder() / f"{hashlib.sha256(library).hexdigest()[:32]}.so"

    def find() -> Path:
        with suppress(FileNotFoundError):
            if libraries.use(path) and path.read_bytes() == library:
                return path
        write_atomically(path, library)
        libraries.prune(path.parent)
        return path

    return libraries.read(find, _loaded)


@cache
def kernel(name: str, defines: tuple[tuple[str, str], ...] = ()) -> ctypes.CDLL | None:
    """The library of one of the package's own kernels, None where there is no C++ compiler.

    None too, with a warning, where the compiler fails.
    """
    try:
        return load(shipped(name), dict(defines))
    except MissingCompilerError:
        return None
    except CompileError as error:
        warnings.warn(f"{name}: {error}; going on without this kernel, which is slower", ShoalWarning, stacklevel=2)
        return None


@cache
def shipped(name: str) -> str:
    """The text of one of the package's own kernels, with the headers it includes by `#include "..."` put in."""
    lines = (files("shoal.native") / "sources" / name).read_text().splitlines()
    return "\n".join(shipped(line.split('"')[1]) if line.startswith('#include "') else line for line in lines)


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompileError(f"{path}: cannot be loaded: {error}") from error


def _built(source: str, target: Target, defines: Mapping[str, str], flags: Sequence[str] = ()) -> Path:
    given = (f"-D{name}={value}" for name, value in sorted(defines.items()))
    command = [compiler(), *FLAGS, *target.flags, *given, *flags]
    key = hashlib.sha256("\0".join([*command, machine(), _version(command[0]), source]).encode()).hexdigest()[:32]
    path = libraries.folder() / f"{key}.{target.name}.so"
    if not libraries.use(path):
        _compile(command, source, path)
        libraries.prune(path.parent)
    return path


def _compile(command: list[str], source: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY) as scratch:
        text, draft = Path(scratch) / "kernel.cpp", Path(scratch) / "kernel.so"
        text.write_text(source)
        for threads in ("-fopenmp", "-Wno-unknown-pragmas"):  # a compiler without OpenMP makes a kernel of one thread
            run = subprocess.run(
                [*command, threads, str(text), "-o", str(draft)], capture_output=True, text=True, check=False
            )
            if run.returncode == 0:
                os.replace(draft, path)
                return
            if "omp" not in run.stderr:
                break
    errors = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
    raise CompileError(f"{command[0]} cannot compile a kernel: {errors[0] if errors else 'no message'}")


@cache
def _version(command: str) -> str:
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
