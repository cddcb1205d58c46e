"""Small clusters and their edges, by brute force."""

import torch

from shoal.architectures import AtomicEnergyModel

CUTOFF = 3.5
SKIN = 0.8


def cluster(n_atoms: int = 8, seed: int = 0) -> torch.Tensor:
    """Positions (N, 3) of atoms 1.5 A or more apart, dense enough that each has several neighbours."""
    source = torch.Generator().manual_seed(seed)
    placed: list[torch.Tensor] = []
    while len(placed) < n_atoms:
        candidate = 4.5 * torch.rand(3, generator=source, dtype=torch.float64)
        if all((candidate - other).norm() > 1.5 for other in placed):
            placed.append(candidate)
    return torch.stack(placed)


def edge_index(positions: torch.Tensor, reach: float = CUTOFF + SKIN) -> torch.Tensor:
    """All directed pairs (2, E) closer than `reach`, sorted by centre."""
    distances = torch.cdist(positions, positions)
    near = (distances < reach) & ~torch.eye(len(positions), dtype=torch.bool)
    return near.nonzero().T.contiguous()


def vectors(positions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return positions[index[1]] - positions[index[0]]


def types_of(n_atoms: int) -> torch.Tensor:
    """Two types in turn."""
    return torch.arange(n_atoms) % 2


def energies(model: AtomicEnergyModel, positions: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    """Atomic energies (N,), differentiable in the positions."""
    index = edge_index(positions.detach())
    return model(vectors(positions, index), index, types)


def energies_and_forces(
    model: AtomicEnergyModel, positions: torch.Tensor, types: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    moving = positions.clone().requires_grad_()
    values = energies(model, moving, types)
    (gradient,) = torch.autograd.grad(values.sum(), moving)
    return values.detach(), -gradient
