"""Tensors as arguments of C functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch

TYPES: dict[str, Any] = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


def pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    """The address of a contiguous CPU tensor's numbers; the caller keeps the tensor alive. None is a null pointer."""
    if tensor is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(_address(tensor))


def function(library: ctypes.CDLL, name: str, arguments: str, result: str | None = None) -> Callable[..., Any]:
    """A C function of a library, as one of numbers and contiguous CPU tensors.

    `arguments` and `result` are letters: i int, l int64, d double, p pointer; a tensor or None goes as a pointer.
    """
    raw = library[name]
    raw.argtypes = [TYPES[letter] for letter in arguments]
    raw.restype = None if result is None else TYPES[result]

    def call(*values: Any) -> Any:
        return raw(*[_address(value) if isinstance(value, torch.Tensor) else value for value in values])

    return call


def _address(tensor: torch.Tensor) -> int:
    assert tensor.is_contiguous()
    assert tensor.is_cpu
    return tensor.data_ptr()


def pointers(values: Sequence[Any]) -> list[Any]:
    """Tensors and None as pointers, anything else as it is."""
    return [pointer(v) if v is None or isinstance(v, torch.Tensor) else v for v in values]


def threads_for(n_atoms: int, of_a_thread: int) -> int:
    """Threads worth waking: torch's number, but each with so many atoms; waking one takes tens of microseconds."""
    return max(1, min(torch.get_num_threads(), n_atoms // of_a_thread))
