"""The batch target that files are compiled from, and its one graph for any number of atoms, edges and systems.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from shoal.architectures import ArchitectureConfig
from shoal.files.compiled import INPUTS, OUTPUTS
from shoal.neighbors import edge_vectors
from shoal.potentials import LearnedPotential
from shoal.potentials._derivatives import quantities

EXAMPLE_SIZES = {"n_atoms": 23, "n_edges": 211, "n_systems": 11}
"""Sizes of the traced example: distinct, and unlike any size inside a model, so that none is taken for another."""


class BatchTarget(nn.Module):
    """The batch target as a function of tensors: inputs files.compiled.INPUTS, outputs files.compiled.OUTPUTS.

    `atomic_energies`: module from edge vectors (E, 3), edge_index (2, E) and atom_types (N,) to energies (N,), its
    parameters fixed. Called with gradients enabled. TorchScript compiles it where it compiles that module.
    """

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


def example_inputs(
    config: ArchitectureConfig, device: torch.device, sizes: Mapping[str, int] = EXAMPLE_SIZES
) -> tuple[torch.Tensor, ...]:
    """Made-up inputs of the batch target of a model, in the order of files.compiled.INPUTS."""
    n, e, s = sizes["n_atoms"], sizes["n_edges"], sizes["n_systems"]
    generator = torch.Generator().manual_seed(0)
    centre = torch.arange(e) * n // e
    neighbor = (centre + 1 + torch.arange(e) % (n - 1)) % n
    tensors = (
        config.cutoff * torch.rand(n, 3, generator=generator, dtype=torch.float64),
        (3 * config.cutoff * torch.eye(3, dtype=torch.float64)).repeat(s, 1, 1),
        torch.stack([centre, neighbor]),
        torch.zeros(e, 3, dtype=torch.int64),
        torch.arange(n) % len(config.type_names),
        torch.arange(n) * s // n,
        torch.ones(n, dtype=torch.float64),
    )
    return tuple(tensor.to(device) for tensor in tensors)


def example_edges(
    config: ArchitectureConfig, device: torch.device, sizes: Mapping[str, int] = EXAMPLE_SIZES
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same as a model takes them: edge vectors (E, 3), edge_index (2, E) and atom_types (N,)."""
    example = dict(zip(INPUTS, example_inputs(config, device, sizes), strict=True))
    index, types = example["edge_index"], example["atom_types"]
    shifts, systems = example["edge_cell_shift"], example["system_index"]
    return edge_vectors(example["positions"], example["cell"], index, shifts, systems), index, types


def export_batch_target(potential: LearnedPotential, device: torch.device) -> torch.export.ExportedProgram:
    """The batch target as an exported program with dynamic numbers of atoms, edges and systems (each at least 2).

    The backward pass is written into the graph by make_fx first, because torch.export cannot take a gradient.
    """
    from torch.export import Dim, export
    from torch.fx.experimental.proxy_tensor import make_fx

    target = BatchTarget(potential.model.to(device))
    inputs = example_inputs(potential.model.config, device)
    with torch.enable_grad():
        graph = make_fx(target, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
    atoms, edges, systems = (Dim(name, min=2, max=2**40) for name in ("n_atoms", "n_edges", "n_systems"))
    sizes = ({0: atoms}, {0: systems}, {1: edges}, {0: edges}, {0: atoms}, {0: atoms}, {0: atoms})
    return export(graph, inputs, dynamic_shapes=sizes, strict=False)
