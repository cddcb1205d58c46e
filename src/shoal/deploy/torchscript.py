"""Mode torchscript: the traced energy in a scripted shell that takes the gradient.

N atoms, E edges.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import nn

from shoal.deploy.trace import EXAMPLE_SIZES, BatchTarget, example_edges
from shoal.potentials import LearnedPotential

OTHER_SIZES = {"n_atoms": 29, "n_edges": 173, "n_systems": 7}


def write_torchscript(potential: LearnedPotential, device: torch.device, out: Path) -> None:
    """Write the batch target of a potential to `out` as a TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # they do not tell constants from sizes
        shell = torch.jit.script(BatchTarget(_frozen(trace_energies(potential, device), device)).eval())
        torch.jit.save(shell, str(out))


def trace_energies(potential: LearnedPotential, device: torch.device) -> torch.jit.ScriptModule:
    """Atomic energies (N,) from edge vectors (E, 3), edge_index (2, E) and atom_types (N,).

    Traced at two sizes: torch raises an error if a size or a choice of one of them is fixed in the graph. Weights are
    parameters and buffers, which move to another device.
    """
    first, second = (example_edges(potential.model.config, device, sizes) for sizes in (EXAMPLE_SIZES, OTHER_SIZES))
    return torch.jit.trace(potential.model.to(device), first, check_inputs=[second])


def _frozen(traced: torch.jit.ScriptModule, device: torch.device) -> nn.Module:
    """With constants folded, for one device."""
    # only after it is loaded anew can a frozen module be part of another
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer, map_location=device)
