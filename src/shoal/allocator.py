"""What the C library does with memory that was freed: keep it for the next step, or give it back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Names of glibc's malloc.h: the size from which a block is mapped for itself, and how much free memory is kept."""

KEPT = 1 << 30
ON_ITS_OWN = {MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""The largest values that glibc comes to by itself."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Up to 1 GiB of freed memory is kept while in here, where the C library is glibc; elsewhere nothing changes.

    In the end it is given back, and what glibc comes to by itself at the most stays: 64 MiB.
    Without, what a training step frees goes back to the system at its end, or not, by the chance of what lies on top
    of the heap, and each page comes back by a page fault of 1 us: a third of the step of a small model.
    """
    library = _glibc()
    if library is None:
        yield
        return
    for name, value in ON_ITS_OWN.items():
        library.mallopt(name, KEPT) or library.mallopt(name, value)  # older ones refuse what is larger
    try:
        yield
    finally:
        for name, value in ON_ITS_OWN.items():
            library.mallopt(name, value)
        give_back()


def give_back() -> None:
    """Freed memory goes back to the system, so that the size of the process is what is in use."""
    if (library := _glibc()) is not None:
        library.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
