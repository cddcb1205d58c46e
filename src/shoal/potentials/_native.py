"""What compiled files have in common: how their code is loaded, what reaches it, and where it stays.

The code itself checks nothing: it gives wrong numbers or NaN on tensors it was not made for.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shoal.contract import BOTH, Support
from shoal.errors import InputError, ModelFileError
from shoal.potentials.base import Potential

Runner = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]
Forms = Mapping[str, tuple[torch.dtype, int]]
"""Dtype and number of dimensions of each input, in the order the code takes them."""

FILE_SUPPORT = {
    "energy": Support(explicit_gradients=BOTH),
    "heat_flux": Support(sample_kinds=("system",), selected_atoms=False),
}
"""What the labelled face gives of code that takes `energy_weights` and returns numbers."""


class FilePotential(Potential):
    """A potential whose code is loaded for one device and stays there."""

    def __init__(self, path: str | Path, device: torch.device) -> None:
        super().__init__()
        self.path = Path(path)
        self._device = device

    @property
    def device(self) -> torch.device:
        return self._device

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> FilePotential:
        """What `to`, `cuda` and the like go through."""
        wanted = fn(torch.empty(0, device=self._device)).device
        if wanted != self._device:
            raise InputError(f"{self.path} was loaded on {self._device}; load it again for {wanted}")
        return self

    def _checked(self, inputs: Mapping[str, torch.Tensor], forms: Forms) -> list[torch.Tensor]:
        """`checked`, and atom types of the model. Raises InputError."""
        # a tensor of its own each: code of others may change what it is given
        values = [value.detach() for value in checked(inputs, forms, self._device)]
        lowest, highest = torch.aminmax(inputs["atom_types"])
        if int(lowest) < 0 or int(highest) >= len(self.type_names):
            raise InputError(f"atom types must lie in 0..{len(self.type_names) - 1}")
        return values


def checked(inputs: Mapping[str, torch.Tensor], forms: Forms, device: torch.device) -> list[torch.Tensor]:
    """Inputs as native code needs them: right dtype, dimensions and device, contiguous. Raises InputError."""
    values = []
    for name, (dtype, n_dimensions) in forms.items():
        if name not in inputs:
            continue
        value = inputs[name]
        if value.dtype != dtype or value.dim() != n_dimensions or value.device != device:
            raise InputError(
                f"{name} must be {dtype} of {n_dimensions} dimensions on {device}, got {value.dtype} of "
                f"{value.dim()} on {value.device}; call the model through a BatchCalculator, which converts"
            )
        value = value.detach() if value.requires_grad else value
        values.append(value if value.is_contiguous() else value.contiguous())
    return values


def load_aotinductor(path: Path, device: torch.device, n_inputs: int, n_outputs: int, again: str) -> Runner:
    """The code of an AOTInductor archive.

    Raises ModelFileError with `again`, how to make the file anew, if torch refuses it or it takes other inputs.
    """
    try:
        index = -1 if device.index is None else device.index
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
    except RuntimeError as error:
        raise _refused(path, error, again) from error
    found = tuple(_n_leaves(json.loads(spec)[1]) for spec in loader.get_call_spec())
    if found != (n_inputs, n_outputs):
        raise ModelFileError(
            f"{path} takes {found[0]} tensors and gives {found[1]}; expected were {n_inputs} and {n_outputs}; {again}"
        )
    return lambda inputs: loader.boxed_run(list(inputs))


def load_torchscript(path: Path, device: torch.device, again: str) -> torch.jit.ScriptModule:
    """The module of a TorchScript archive. Raises ModelFileError with `again`, how to make the file anew."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise _refused(path, error, again) from error


def _refused(path: Path, error: RuntimeError, again: str) -> ModelFileError:
    said = str(error).splitlines()
    return ModelFileError(f"{path}: torch cannot load it: {said[0] if said else 'no reason given'}; {again}")


def _n_leaves(tree: Mapping[str, Any]) -> int:
    if tree["type"] is None:
        return 1
    return sum(map(_n_leaves, tree["children_spec"]))
