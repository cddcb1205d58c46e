"""How much memory a call needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from shoal.allocator import give_back

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Calls it, and tells by how many bytes memory in use rose above what it was when this was made.

    The resident size of the process, or on a GPU what torch has allocated there. None where the system does not tell:
    only Linux lets a process forget its earlier peak. Memory that an earlier call freed and that was used again does
    not count: measure the small before the large.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        give_back()
        self.before = self._in_use()

    def of(self, call: Callable[[], object]) -> int | None:
        """Bytes of one call."""
        known = self._forget()
        call()
        peak = self._peak()
        return None if peak is None or self.before is None or not known else max(0, peak - self.before)

    def _in_use(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return _resident("VmRSS")

    def _forget(self) -> bool:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return True
        try:
            CLEAR.write_text("5")  # proc(5): resets the peak resident size
        except OSError:
            return False
        return True

    def _peak(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident("VmHWM")


def _resident(key: str) -> int | None:
    """Bytes; None where the system does not tell."""
    if not STATUS.exists():
        return None
    lines = STATUS.read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(key)), None)
