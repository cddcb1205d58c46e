"""An engine: ASE's neighbour list, metatomic's objects, nothing of Shoal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelEvaluationOptions,
    ModelOutput,
    System,
    register_autograd_neighbors,
    systems_to_torch,
)

PAIR = ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]


def system_of(atoms: Atoms, model: AtomisticModel, strain: torch.Tensor | None = None) -> System:
    """With the lists that the model asks for, in a random order; positions and cell are leaves, if not strained."""
    plain = systems_to_torch(atoms, dtype=torch.float64)
    positions, cell = plain.positions.requires_grad_(True), plain.cell.requires_grad_(True)
    if strain is not None:
        positions, cell = positions @ strain, cell @ strain
    system = System(plain.types, positions, cell, plain.pbc)
    for options in model.requested_neighbor_lists():
        centre, neighbor, shift, vectors = neighbor_list("ijSD", atoms, options.cutoff)
        order = np.random.default_rng(0).permutation(len(centre))
        samples = np.column_stack([centre, neighbor, shift]).astype(np.int32)[order].reshape(-1, 5)
        block = TensorBlock(
            torch.tensor(vectors[order]).reshape(-1, 3, 1),
            Labels(PAIR, torch.tensor(samples)),
            [Labels(["xyz"], torch.arange(3)[:, None])],
            Labels(["distance"], torch.zeros(1, 1, dtype=torch.int64)),
        )
        register_autograd_neighbors(system, block, check_consistency=True)
        system.add_neighbor_list(options, block)
    return system


def energy(
    model: AtomisticModel,
    systems: Sequence[System],
    sample_kind: str = "system",
    selected: Sequence[tuple[int, int]] | None = None,
    unit: str = "eV",
    length_unit: str = "angstrom",
) -> TensorMap:
    """metatomic's own checks are on."""
    atoms = None
    if selected is not None:
        atoms = Labels(["system", "atom"], torch.tensor(selected, dtype=torch.int32).reshape(-1, 2))
    request = ModelOutput(unit=unit, sample_kind=sample_kind)
    options = ModelEvaluationOptions(length_unit, {"energy": request}, atoms)
    return model(list(systems), options, check_consistency=True)["energy"]
