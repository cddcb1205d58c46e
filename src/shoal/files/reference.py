"""Reference structures as plain tensors: in checkpoints, and in packages with the results the model gave.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from shoal.state import SimState

RESULTS = ("energy", "forces", "stress")


def structures_to_tensors(state: SimState, atom_types: torch.Tensor) -> dict[str, torch.Tensor]:
    """positions (N, 3), cell (S, 3, 3), pbc (S, 3), atomic_numbers (N,), n_atoms (S,), atom_types (N,); on the host."""
    tensors = {
        "positions": state.positions.to(torch.float64),
        "cell": state.cell.to(torch.float64),
        "pbc": state.pbc,
        "atomic_numbers": state.atomic_numbers,
        "n_atoms": state.n_atoms_per_system,
        "atom_types": atom_types,
    }
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def tensors_to_structures(tensors: Mapping[str, torch.Tensor]) -> tuple[SimState, torch.Tensor]:
    """The inverse: a float64 state and its atom types (N,)."""
    state = SimState.build(
        positions=tensors["positions"],
        atomic_numbers=tensors["atomic_numbers"],
        n_atoms=tensors["n_atoms"].tolist(),
        cell=tensors["cell"],
        pbc=tensors["pbc"],
    )
    return state, tensors["atom_types"]


def frames_to_structures(frames: Sequence[Mapping[str, torch.Tensor]]) -> tuple[SimState, torch.Tensor]:
    """The frames of a checkpoint (files.checkpoint) as one float64 state and its atom types (N,)."""
    rows = {key: torch.cat([frame[key] for frame in frames]) for key in ("positions", "atomic_numbers", "atom_types")}
    systems = {key: torch.stack([frame[key] for frame in frames]) for key in ("cell", "pbc")}
    counts = torch.tensor([len(frame["atomic_numbers"]) for frame in frames])
    return tensors_to_structures({**rows, **systems, "n_atoms": counts})
