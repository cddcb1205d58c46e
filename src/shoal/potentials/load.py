"""Any model file as a potential."""

from __future__ import annotations

from pathlib import Path

import torch

from shoal.devices import as_device
from shoal.errors import ModelFileError
from shoal.files import model_kind
from shoal.potentials.base import Potential
from shoal.potentials.compiled import CompiledPotential
from shoal.potentials.learned import LearnedPotential
from shoal.potentials.nequip_compiled import CompiledNequIP


def load_potential(path: str | Path, device: torch.device | str | None = None) -> Potential:
    """Open a `.shoal` package (eager) or a compiled file, Shoal's or NequIP's, on a device.

    By default that is the CPU, or the device the file was compiled for.

    Raises ModelFileError, for a checkpoint with the command that packages it.
    """
    kind = model_kind(path)
    if kind == "checkpoint":
        raise ModelFileError(
            f"{path} is a training checkpoint; make a model of it first: shoal package {path} OUT.shoal"
        )
    if kind == "package":
        return LearnedPotential.from_package(path).to(as_device(device or "cpu"))
    return (CompiledNequIP if kind.startswith("nequip") else CompiledPotential)(path, device)
