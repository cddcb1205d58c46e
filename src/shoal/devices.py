"""Which device a caller means, and whether it is there."""

from __future__ import annotations

import torch

from shoal.errors import InputError


def as_device(device: torch.device | str) -> torch.device:
    """The device, with its index where that is the current one's. Raises InputError if it is unknown or absent here."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"unknown device {device!r}; there are cpu, cuda and cuda:0, cuda:1 ...") from None
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        raise InputError(f"device {found} was asked for, but torch sees no GPU here; see shoal doctor")
    if found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if found.index >= torch.cuda.device_count():
        raise InputError(f"device {found} does not exist: torch sees {torch.cuda.device_count()} GPUs")
    return found
