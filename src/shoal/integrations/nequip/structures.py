"""Structures on which an imported model and its original are compared, for any set of atom types.

N atoms, T types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from shoal.state import SimState

MOST_ATOMS = 200
N_MADE_UP = 12
RATTLE = 0.05
Frame = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def reference_structures(
    type_names: Sequence[str],
    species: Mapping[str, str],
    cutoff: float,
    example: Mapping[str, torch.Tensor] | None = None,
) -> tuple[SimState, torch.Tensor]:
    """A float64 state and its atom types (N,): a cluster and a skewed cell of all types, rattled frames of `example`.

    `species` maps symbols to types; `example` (pos, atom_types, and for a crystal cell and pbc) is a frame as nequip
    holds it. Atomic number 0 stands for a type without a symbol.
    """
    numbers = _atomic_numbers(type_names, species)
    generator = torch.Generator().manual_seed(0)
    types = torch.arange(max(N_MADE_UP, len(type_names))) % len(type_names)
    spacing = cutoff / 2
    side = int(len(types) ** (1 / 3)) + 1
    grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 3)[: len(types)]
    cell = side * spacing * torch.tensor([[1.0, 0.0, 0.0], [0.2, 1.1, 0.0], [-0.1, 0.3, 0.9]], dtype=torch.float64)
    points = spacing * grid + 0.1 * spacing * _normal(grid.shape, generator)
    frames = [
        (points, types, torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.bool)),
        (grid / side @ cell + 0.1 * spacing * _normal(grid.shape, generator), types, cell, torch.ones(3).bool()),
    ]
    if example is not None and len(example["pos"]) <= MOST_ATOMS:
        frames += _rattled(example, generator)
    state = SimState.build(
        positions=torch.cat([frame[0] for frame in frames]),
        atomic_numbers=numbers[torch.cat([frame[1] for frame in frames])],
        n_atoms=[len(frame[0]) for frame in frames],
        cell=torch.stack([frame[2] for frame in frames]),
        pbc=torch.stack([frame[3] for frame in frames]),
    )
    return state, torch.cat([frame[1] for frame in frames])


def _rattled(example: Mapping[str, torch.Tensor], generator: torch.Generator) -> list[Frame]:
    positions = example["pos"].to(torch.float64)
    types = example["atom_types"].flatten().to(torch.int64)
    pbc = example.get("pbc", torch.zeros(3)).flatten().bool()
    cell = example["cell"].to(torch.float64).reshape(3, 3) if bool(pbc.any()) else torch.zeros(3, 3).double()
    frames = []
    for stretch in (0.98, 1.0, 1.02):
        moved = positions + RATTLE * _normal(positions.shape, generator)
        frames.append((stretch * moved, types, stretch * cell, pbc))
    return frames


def _atomic_numbers(type_names: Sequence[str], species: Mapping[str, str]) -> torch.Tensor:
    from ase.data import atomic_numbers

    symbols = {name: symbol for symbol, name in species.items()}
    return torch.tensor([atomic_numbers.get(symbols.get(name, name), 0) for name in type_names])


def _normal(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
