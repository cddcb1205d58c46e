"""How far predictions are from labels: residuals, the loss, and running errors in the units people read.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

import torch

from shoal.training.batches import Batch
from shoal.training.config import LossWeights
from shoal.training.samples import QUANTITIES

MILLI = 1000.0


class Residuals(NamedTuple):
    """Prediction less label, zero where there is no label; `counts` (3,) numbers that are labelled.

    energy (S,) eV per atom, forces (N, 3) eV/A, stress (S, 3, 3) eV/A^3.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    counts: torch.Tensor


def residuals(predictions: Mapping[str, torch.Tensor], batch: Batch) -> Residuals:
    """Residuals of a batch from its predicted energy (S,) eV, forces (N, 3) eV/A and stress (S, 3, 3) eV/A^3.

    Stress may be left out where no structure has a label of it.
    """
    has_energy, has_forces, has_stress = batch.labelled.unbind(1)
    energy = (predictions["energy"] - batch.energy) / batch.n_atoms
    forces = predictions["forces"] - batch.forces
    stress = predictions["stress"] - batch.stress if batch.wants_stress else batch.stress
    zero = energy.new_zeros(())
    counts = (has_energy.sum(), 3 * (has_forces * batch.n_atoms).sum(), 9 * has_stress.sum())
    return Residuals(
        torch.where(has_energy, energy, zero),
        torch.where(has_forces[batch.system_index][:, None], forces, zero),
        torch.where(has_stress[:, None, None], stress, zero),
        torch.stack(counts),
    )


class Loss:
    """Weighted mean squared errors, in which every label of the data has the same say whatever batch it falls in.

    The sum over a batch's labels is divided by the labels that a batch holds on average, so that the mean over an
    epoch is the mean over all labels, however unevenly they are spread.
    """

    def __init__(self, weights: LossWeights, labels_per_batch: Mapping[str, float]) -> None:
        self.factors = {
            quantity: getattr(weights, quantity) / labels_per_batch[quantity]
            for quantity in QUANTITIES
            if getattr(weights, quantity) > 0
        }

    def __call__(self, residual: Residuals) -> torch.Tensor:
        """The loss (), float64."""
        terms = [factor * getattr(residual, name).square().sum() for name, factor in self.factors.items()]
        # of the weights too, with a gradient of zero, where a batch has no label that counts
        return torch.stack([*terms, 0 * residual.energy.sum()]).sum()


class Errors:
    """Running errors over batches; nothing is read from the device until they are asked for."""

    def __init__(self, sums: list[list[float]] | None = None) -> None:
        rows = sums if sums is not None else [[0.0, 0.0, 0.0] for _ in QUANTITIES]
        self.sums = torch.tensor(rows, dtype=torch.float64)  # (3, 3): count, sum of sizes, sum of squares

    def add(self, residual: Residuals) -> None:
        rows = []
        for k, quantity in enumerate(QUANTITIES):
            value = getattr(residual, quantity).detach()
            rows.append(torch.stack((residual.counts[k].to(value.dtype), value.abs().sum(), value.square().sum())))
        self.sums = self.sums.to(rows[0].device) + torch.stack(rows)

    def as_lists(self) -> list[list[float]]:
        return self.sums.tolist()

    def loss(self, weights: LossWeights) -> float:
        """Weighted mean squared errors over all labels seen; quantities without labels are left out."""
        return sum(
            getattr(weights, quantity) * squares / count
            for quantity, (count, _, squares) in zip(QUANTITIES, self.as_lists(), strict=True)
            if count
        )

    def metrics(self) -> dict[str, float]:
        """Mean absolute and root mean square errors: energy meV/atom, forces meV/A, stress meV/A^3.

        Only of quantities that had labels.
        """
        values: dict[str, float] = {}
        for quantity, (count, sizes, squares) in zip(QUANTITIES, self.as_lists(), strict=True):
            if count:
                values[f"{quantity}_mae"] = MILLI * sizes / count
                values[f"{quantity}_rmse"] = MILLI * sqrt(squares / count)
        return values
