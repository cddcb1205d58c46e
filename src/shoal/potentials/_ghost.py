"""One ghost system, appended where a compiled graph would see too few atoms or edges: it is made for two and more.

Two atoms two cutoffs apart, in a large cell of their own, joined by one edge each way: their edges contribute
exactly zero with finite gradients (a self edge in a zero cell would give NaN). Their rows are cut from every output.
"""

from __future__ import annotations

import torch


def with_ghost(inputs: dict[str, torch.Tensor], cutoff: float) -> dict[str, torch.Tensor]:
    """Batch inputs (files.compiled.INPUTS, n_atoms) with the ghost system behind the real ones."""
    n_atoms, n_systems = inputs["positions"].shape[0], inputs["cell"].shape[0]
    side = 10 * cutoff
    ghost = {
        "positions": [[0.0, 0.0, 0.0], [2 * cutoff, 0.0, 0.0]],
        "cell": [[[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]]],
        "edge_index": [[n_atoms, n_atoms + 1], [n_atoms + 1, n_atoms]],
        "edge_cell_shift": [[0, 0, 0], [0, 0, 0]],
        "atom_types": [0, 0],
        "system_index": [n_systems, n_systems],
        "energy_weights": [1.0, 1.0],
        "n_atoms": [2],
    }
    return {
        name: torch.cat([value, value.new_tensor(ghost[name])], dim=1 if name == "edge_index" else 0)
        for name, value in inputs.items()
    }


def without_ghost(outputs: dict[str, torch.Tensor], n_atoms: int, n_systems: int) -> dict[str, torch.Tensor]:
    """The rows of the real atoms and systems."""
    rows = {"atomic_energy": n_atoms, "forces": n_atoms}
    return {name: value[: rows.get(name, n_systems)] for name, value in outputs.items()}
