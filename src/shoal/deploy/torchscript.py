"""Mode torchscript: the traced energy in a scripted shell that takes the gradient.

N atoms, E edges, S systems.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from shoal.deploy.trace import EXAMPLE_SIZES, example_inputs
from shoal.files.compiled import INPUTS, OUTPUTS
from shoal.neighbors import edge_vectors
from shoal.potentials import LearnedPotential
from shoal.potentials._derivatives import quantities

OTHER_SIZES = {"n_atoms": 29, "n_edges": 173, "n_systems": 7}


class _Shell(nn.Module):
    """The batch target: inputs files.compiled.INPUTS, outputs files.compiled.OUTPUTS. Called with gradients enabled."""

    def __init__(self, atomic_energies: nn.Module) -> None:
        super().__init__()
        self.atomic_energies = atomic_energies
        self.outputs = list(OUTPUTS)

    def forward(
        self,
        positions: torch.Tensor,
        cell: torch.Tensor,
        edge_index: torch.Tensor,
        edge_cell_shift: torch.Tensor,
        atom_types: torch.Tensor,
        system_index: torch.Tensor,
        energy_weights: torch.Tensor,
    ) -> list[torch.Tensor]:
        vectors = edge_vectors(positions, cell, edge_index, edge_cell_shift, system_index).detach().requires_grad_(True)
        atomic = self.atomic_energies(vectors, edge_index, atom_types)
        gradient = torch.autograd.grad([(atomic * energy_weights).sum()], [vectors])[0]
        assert gradient is not None
        values = quantities(atomic.detach(), vectors.detach(), gradient, edge_index, system_index, cell)
        return [values[name] for name in self.outputs]


def write_torchscript(potential: LearnedPotential, device: torch.device, out: Path) -> None:
    """Write the batch target of a potential to `out` as a TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # they do not tell constants from sizes
        shell = torch.jit.script(_Shell(_trace(potential, device)).eval())
        torch.jit.save(shell, str(out))


def _trace(potential: LearnedPotential, device: torch.device) -> nn.Module:
    """Atomic energies (N,) from edge vectors (E, 3), edge_index (2, E) and atom_types (N,), constants folded.

    Traced at two sizes: torch raises an error if a size or a choice of one of them is fixed in the graph.
    """
    first, second = (_arguments(potential, device, sizes) for sizes in (EXAMPLE_SIZES, OTHER_SIZES))
    traced = torch.jit.trace(potential.model.to(device), first, check_inputs=[second])
    # only after it is loaded anew can a frozen module be part of another
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer, map_location=device)


def _arguments(potential: LearnedPotential, device: torch.device, sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
    example = dict(zip(INPUTS, example_inputs(potential, device, sizes), strict=True))
    index, types = example["edge_index"], example["atom_types"]
    shifts, systems = example["edge_cell_shift"], example["system_index"]
    return edge_vectors(example["positions"], example["cell"], index, shifts, systems), index, types
