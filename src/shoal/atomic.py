"""Files that are never half written."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

TEMPORARY = ".tmp-"
"""How the names of files begin that a killed process may have left unfinished."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace a file by another that is complete on disk, or leave it as it was. Raises OSError."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{token_hex(4)}-{path.name}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Without it the new name itself may be lost when the machine stops."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
