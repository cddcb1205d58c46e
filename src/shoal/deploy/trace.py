"""From an eager potential to one graph of energy and backward pass, for any number of atoms, edges and systems.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from shoal.files.compiled import OUTPUTS
from shoal.neighbors import edge_vectors
from shoal.potentials import Graph, LearnedPotential
from shoal.potentials._derivatives import energy_and_derivatives

EXAMPLE_SIZES = {"n_atoms": 23, "n_edges": 211, "n_systems": 11}
"""Sizes of the traced example: distinct, and unlike any size inside a model, so that none is taken for another."""


class BatchTarget(nn.Module):
    """The batch target as a function of tensors: inputs files.compiled.INPUTS, outputs files.compiled.OUTPUTS."""

    def __init__(self, potential: LearnedPotential) -> None:
        super().__init__()
        self.potential = potential

    def forward(
        self,
        positions: torch.Tensor,
        cell: torch.Tensor,
        edge_index: torch.Tensor,
        edge_cell_shift: torch.Tensor,
        atom_types: torch.Tensor,
        system_index: torch.Tensor,
        energy_weights: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        def atomic_energies(vectors: torch.Tensor) -> torch.Tensor:
            return self.potential.atomic_energies(Graph(vectors, edge_index, atom_types, system_index))

        results = energy_and_derivatives(
            atomic_energies,
            edge_vectors(positions, cell, edge_index, edge_cell_shift, system_index),
            edge_index,
            system_index,
            cell,
            energy_weights=energy_weights,
        )
        return tuple(results[name] for name in OUTPUTS)


def example_inputs(
    potential: LearnedPotential, device: torch.device, sizes: Mapping[str, int] = EXAMPLE_SIZES
) -> tuple[torch.Tensor, ...]:
    """Made-up inputs of the given sizes, in the order of files.compiled.INPUTS."""
    n, e, s = sizes["n_atoms"], sizes["n_edges"], sizes["n_systems"]
    generator = torch.Generator().manual_seed(0)
    centre = torch.arange(e) * n // e
    neighbor = (centre + 1 + torch.arange(e) % (n - 1)) % n
    tensors = (
        potential.cutoff * torch.rand(n, 3, generator=generator, dtype=torch.float64),
        (3 * potential.cutoff * torch.eye(3, dtype=torch.float64)).repeat(s, 1, 1),
        torch.stack([centre, neighbor]),
        torch.zeros(e, 3, dtype=torch.int64),
        torch.arange(n) % len(potential.type_names),
        torch.arange(n) * s // n,
        torch.ones(n, dtype=torch.float64),
    )
    return tuple(tensor.to(device) for tensor in tensors)


def export_batch_target(potential: LearnedPotential, device: torch.device) -> torch.export.ExportedProgram:
    """The batch target as an exported program with dynamic numbers of atoms, edges and systems (each at least 2).

    The backward pass is written into the graph by make_fx first, because torch.export cannot take a gradient.
    """
    from torch.export import Dim, export
    from torch.fx.experimental.proxy_tensor import make_fx

    target = BatchTarget(potential.to(device))
    inputs = example_inputs(potential, device)
    graph = make_fx(target, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
    atoms, edges, systems = (Dim(name, min=2, max=2**40) for name in ("n_atoms", "n_edges", "n_systems"))
    sizes = ({0: atoms}, {0: systems}, {1: edges}, {0: edges}, {0: atoms}, {0: atoms}, {0: atoms})
    return export(graph, inputs, dynamic_shapes=sizes, strict=False)
