"""Tensors as arguments of C functions."""

from __future__ import annotations

import ctypes

import torch


def pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    """The address of a contiguous CPU tensor's numbers; the caller keeps the tensor alive. None is a null pointer."""
    if tensor is None:
        return ctypes.c_void_p(None)
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    return ctypes.c_void_p(tensor.data_ptr())
