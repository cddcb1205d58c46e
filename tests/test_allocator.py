"""Memory that is freed between steps is found again without a page fault."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from shoal.allocator import kept_memory

PAGE = resource.getpagesize()
BLOCKS, BYTES = 16, 24 << 20


def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _ = [torch.ones(BYTES, dtype=torch.uint8) for _ in range(BLOCKS)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_steps_come_to_have_hardly_a_page_fault() -> None:
    """More than glibc would keep by itself, in blocks that old ones keep; the first steps find out what is needed."""
    with kept_memory():
        faults = [faults_of_a_step() for _ in range(8)]
    assert faults[-1] < BLOCKS * BYTES / PAGE / 100
    assert faults[0] > faults[-1]
    assert faults_of_a_step() > faults[-1], "in the end it went back to the system"
