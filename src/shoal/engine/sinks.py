"""Where results go while they are made: kept in memory, or appended to an extended xyz file.

The third place, a results folder, has its own file.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO

from shoal.engine.outcome import SystemResult
from shoal.errors import InputError


class Sink(ABC):
    """Takes finished systems, used as a context; on disk, what `write` has taken outlives a killed process.

    `path`: the file or folder, if any; `kept`: what is in memory; `done`: id to formula of
    what an earlier run finished.
    """

    path: Path | None = None
    kept: Sequence[SystemResult] = ()
    done: Mapping[int, str] = MappingProxyType({})

    @abstractmethod
    def open(self) -> None:
        """Make ready to write. Raises InputError where that is not possible."""

    @abstractmethod
    def write(self, results: Sequence[SystemResult]) -> None:
        """Take some finished systems."""

    @abstractmethod
    def close(self, *, complete: bool) -> None:
        """No more systems come; `complete` unless an error ended the run."""

    def __enter__(self) -> Sink:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


class Memory(Sink):
    """Keeps results."""

    def __init__(self) -> None:
        self._results: list[SystemResult] = []
        self.kept = self._results

    def open(self) -> None:
        pass

    def write(self, results: Sequence[SystemResult]) -> None:
        self._results.extend(results)

    def close(self, *, complete: bool) -> None:
        pass


class ExtxyzFile(Sink):
    """Appends each system as a frame of an extended xyz file, flushed after every batch.

    The file is made when the first results come, so that a run that is refused leaves an earlier file as it was.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if path.is_dir() or (path.exists() and not overwrite):
            raise InputError(f"{path} exists already; choose another name or overwrite it (--overwrite)")
        self.path: Path = path
        self._file: IO[str] | None = None

    def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write there: {error.strerror}") from error
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise InputError(f"{self.path}: cannot write there: no permission")

    def _begun(self) -> IO[str]:
        if self._file is None:
            self._file = open(self.path, "w")  # noqa: SIM115 (close() closes it)
        return self._file

    def write(self, results: Sequence[SystemResult]) -> None:
        from ase.io.extxyz import write_extxyz

        if results:
            file = self._begun()
            write_extxyz(file, [result.to_atoms() for result in results])
            file.flush()

    def close(self, *, complete: bool) -> None:
        if complete:
            self._begun()  # nothing to write is an empty file
        if self._file is not None:
            self._file.close()
