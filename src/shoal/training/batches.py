"""Batches of samples, bounded in structures and edges, in an order that depends on seed and epoch only.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from shoal.training.samples import Sample
from shoal.training.seeds import generator


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples packed flat; labels are zero where `labelled` (S, 3) bool (energy, forces, stress) is False.

    edge_vectors (E, 3), edge_index (2, E), atom_types (N,), system_index (N,), n_atoms (S,), cell (S, 3, 3),
    energy (S,), forces (N, 3), stress (S, 3, 3). `wants_stress`: any of it is labelled.
    """

    edge_vectors: torch.Tensor
    edge_index: torch.Tensor
    atom_types: torch.Tensor
    system_index: torch.Tensor
    n_atoms: torch.Tensor
    cell: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    labelled: torch.Tensor
    wants_stress: bool

    @property
    def n_systems(self) -> int:
        return self.n_atoms.shape[0]

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """The same batch on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "wants_stress"}
        moved: dict[str, Any] = {name: tensor.to(*args, **kwargs) for name, tensor in tensors.items()}
        return replace(self, **moved)


def collate(samples: Sequence[Sample]) -> Batch:
    """Pack samples into one batch; edges stay sorted by centre."""
    counts = torch.tensor([sample.n_atoms for sample in samples])
    starts = (counts.cumsum(0) - counts).tolist()
    return Batch(
        edge_vectors=torch.cat([sample.edge_vectors for sample in samples]),
        edge_index=torch.cat([sample.edge_index + start for sample, start in zip(samples, starts, strict=True)], dim=1),
        atom_types=torch.cat([sample.atom_types for sample in samples]),
        system_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
        n_atoms=counts,
        cell=torch.stack([sample.cell for sample in samples]),
        energy=torch.stack([sample.energy for sample in samples]),
        forces=torch.cat([sample.forces for sample in samples]),
        stress=torch.stack([sample.stress for sample in samples]),
        labelled=torch.stack([sample.labelled for sample in samples]),
        wants_stress=any(bool(sample.labelled[2]) for sample in samples),
    )


@dataclass(frozen=True, eq=False)
class Batches:
    """How samples are cut into batches; with a `seed`, shuffled anew each epoch."""

    samples: Sequence[Sample]
    batch_size: int
    max_edges: int | None = None
    seed: int | None = None

    def plan(self, epoch: int = 0) -> list[list[int]]:
        """Which samples form the batches of an epoch, in order: as many as the bounds allow, at least one each."""
        order: Sequence[int] = range(len(self.samples))
        if self.seed is not None:
            order = torch.randperm(len(self.samples), generator=generator(self.seed, "epoch", epoch)).tolist()
        limit = float("inf") if self.max_edges is None else self.max_edges
        batches: list[list[int]] = []
        edges = 0
        for k in order:
            more = self.samples[k].n_edges
            if not batches or len(batches[-1]) == self.batch_size or edges + more > limit:
                batches.append([])
                edges = 0
            batches[-1].append(k)
            edges += more
        return batches

    def collate(self, members: Sequence[int]) -> Batch:
        return collate([self.samples[k] for k in members])
