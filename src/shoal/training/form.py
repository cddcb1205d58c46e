"""The form in which a model is computed while it is trained: the same weights, another way to the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shoal.architectures import AtomicEnergyModel, build
from shoal.errors import CompileError
from shoal.nn.convolution import build_kernels


@dataclass(frozen=True)
class Form:
    """A member of `shoal.nn.CONVOLUTIONS`, and the number of pieces of radial tables, None for the networks."""

    convolution: str = "reference"
    radial_table: int | None = None

    def of(self, model: AtomicEnergyModel, architecture: str, device: torch.device) -> AtomicEnergyModel:
        """A model with the weights of `model`. Raises CompileError where native kernels cannot be had."""
        if self.convolution == "native" and device.type != "cpu":
            raise CompileError(f"native convolutions are for a CPU, not for {device.type}")
        config = model.config.model_dump(mode="json")
        made = build(architecture, config, convolution=self.convolution, radial_table=self.radial_table)
        made.load_state_dict(model.state_dict())
        build_kernels(made)
        return made.to(device)
