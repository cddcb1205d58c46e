"""One ghost system, appended where a compiled graph would see fewer than two atoms, edges or systems.

Two atoms two cutoffs apart, in a large cell of their own, joined by one edge each way: their edges contribute
exactly zero with finite gradients (a self edge in a zero cell would give NaN). Their rows are cut from every output.
"""

from __future__ import annotations

import torch


def with_ghost(inputs: dict[str, torch.Tensor], cutoff: float) -> dict[str, torch.Tensor]:
    """Batch inputs (files.compiled.INPUTS) with the ghost system behind the real ones."""
    positions, cell = inputs["positions"], inputs["cell"]
    n_atoms, n_systems = positions.shape[0], cell.shape[0]
    ghost = {
        "positions": positions.new_tensor([[0.0, 0.0, 0.0], [2 * cutoff, 0.0, 0.0]]),
        "cell": (10 * cutoff * torch.eye(3, dtype=cell.dtype, device=cell.device))[None],
        "edge_index": inputs["edge_index"].new_tensor([[n_atoms, n_atoms + 1], [n_atoms + 1, n_atoms]]),
        "edge_cell_shift": inputs["edge_cell_shift"].new_zeros((2, 3)),
        "atom_types": inputs["atom_types"].new_zeros(2),
        "system_index": inputs["system_index"].new_full((2,), n_systems),
        "energy_weights": inputs["energy_weights"].new_ones(2),
    }
    return {
        name: torch.cat([value, ghost[name]], dim=1 if name == "edge_index" else 0) for name, value in inputs.items()
    }


def without_ghost(outputs: dict[str, torch.Tensor], n_atoms: int, n_systems: int) -> dict[str, torch.Tensor]:
    """The rows of the real atoms and systems."""
    rows = {"atomic_energy": n_atoms, "forces": n_atoms}
    return {name: value[: rows.get(name, n_systems)] for name, value in outputs.items()}
