"""Where results go while they are made: kept in memory, or appended to an extended xyz file.

The third place, a results folder, has its own file.
"""

from __future__ import annotations

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
    """Appends each system as a frame of an extended xyz file, flushed after every batch."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if path.is_dir() or (path.exists() and not overwrite):
            raise InputError(f"{path} exists already; choose another name or overwrite it (--overwrite)")
        self.path: Path = path
        self._file: IO[str] | None = None

    def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "w")  # noqa: SIM115 (close() closes it)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write there: {error.strerror}") from error

    def write(self, results: Sequence[SystemResult]) -> None:
        from ase.io.extxyz import write_extxyz

        assert self._file is not None
        write_extxyz(self._file, [result.to_atoms() for result in results])
        self._file.flush()

    def close(self, *, complete: bool) -> None:
        if self._file is not None:
            self._file.close()
