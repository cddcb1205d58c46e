"""Own random generators: nothing here touches torch's global one."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """A generator on the host whose stream depends on seed, purpose and number only."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
