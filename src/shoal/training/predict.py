"""What a model says about batches.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.func import functional_call

from shoal.potentials._derivatives import energy_and_derivatives
from shoal.training.batches import Batch, Batches
from shoal.training.losses import Errors, residuals

Predict = Callable[..., dict[str, torch.Tensor]]
"""`predict` of one model: (batch, weights=None, *, create_graph=False)."""


def predict(
    model: nn.Module, batch: Batch, weights: Mapping[str, torch.Tensor] | None = None, *, create_graph: bool = False
) -> dict[str, torch.Tensor]:
    """energy (S,) eV, forces (N, 3) eV/A and, where a label wants it, stress (S, 3, 3) eV/A^3.

    With other `weights` than the model's own; `create_graph` keeps the results differentiable in the weights.
    """

    def atomic_energies(edge_vectors: torch.Tensor) -> torch.Tensor:
        arguments = (edge_vectors, batch.edge_index, batch.atom_types)
        return model(*arguments) if weights is None else functional_call(model, dict(weights), arguments)

    return energy_and_derivatives(
        atomic_energies,
        batch.edge_vectors,
        batch.edge_index,
        batch.system_index,
        batch.cell,
        create_graph=create_graph,
        strain=batch.wants_stress,
    )


def evaluate(
    predict: Predict, batches: Batches, weights: Mapping[str, torch.Tensor], device: torch.device
) -> tuple[Errors, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Errors over all samples, and per quantity the labels and predictions, flat on the host.

    Energies are per atom; samples without the label are left out.
    """
    errors = Errors()
    pairs: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"energy": [], "forces": [], "stress": []}
    for members in batches.plan():
        batch = batches.collate(members).to(device)
        values = predict(batch, weights)
        errors.add(residuals(values, batch))
        has = dict(zip(pairs, batch.labelled.unbind(1), strict=True))
        size = batch.n_atoms
        pairs["energy"].append(((batch.energy / size)[has["energy"]], (values["energy"] / size)[has["energy"]]))
        rows = has["forces"][batch.system_index]
        pairs["forces"].append((batch.forces[rows], values["forces"][rows]))
        if batch.wants_stress:
            pairs["stress"].append((batch.stress[has["stress"]], values["stress"][has["stress"]]))
    joined = {
        quantity: (torch.cat([a.flatten() for a, _ in parts]).cpu(), torch.cat([b.flatten() for _, b in parts]).cpu())
        for quantity, parts in pairs.items()
        if parts
    }
    return errors, joined
