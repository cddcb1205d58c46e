"""Which device a caller means, and whether it is there."""

from __future__ import annotations

import torch

from shoal.errors import InputError


def as_device(device: torch.device | str) -> torch.device:
    """The device: cpu, or a GPU with its index. Raises InputError if it is unknown or absent here."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise InputError(f"unknown device {str(device)!r}; there are cpu, cuda and cuda:0, cuda:1 ...")
    if found.type == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(f"device {found} was asked for, but torch sees no GPU here; see shoal doctor")
    if found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if found.index >= torch.cuda.device_count():
        raise InputError(f"device {found} does not exist: torch sees {torch.cuda.device_count()} GPUs")
    return found
