"""What the tests against e3nn share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


@contextmanager
def _float64_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture
def in_float64() -> Any:
    """A context in which e3nn builds modules with float64 constants; ours are built outside of it."""
    return _float64_default
