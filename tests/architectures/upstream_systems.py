"""Small made-up systems with their edges by brute force: molecule, triclinic crystal, slab, and all in one batch.

N atoms, E edges, S systems.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

CUTOFF = 4.0
SYSTEMS = ("molecule", "triclinic crystal", "slab", "mixed batch")


class Systems(NamedTuple):
    """Flat: positions (N, 3) A, cell (S, 3, 3) A, edge_index (2, E), edge_shift (E, 3) in cells, types (N,)."""

    positions: Tensor
    cell: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    types: Tensor
    system_index: Tensor
    n_atoms: Tensor

    @property
    def edge_vectors(self) -> Tensor:
        """(E, 3) A, neighbour minus centre."""
        centre, neighbor = self.edge_index
        images = torch.einsum("ei,eij->ej", self.edge_shift, self.cell[self.system_index[centre]])
        return self.positions[neighbor] - self.positions[centre] + images


def systems(n_types: int) -> dict[str, Systems]:
    """Every kind of system, its atoms' types in turn."""
    nowhere = torch.zeros(3, 3, dtype=torch.float64)
    box, triclinic, layer = (
        torch.tensor(rows, dtype=torch.float64)
        for rows in (
            [[3.8, 0.0, 0.0], [0.0, 3.8, 0.0], [0.0, 0.0, 3.8]],
            [[3.6, 0.3, 0.0], [-0.8, 4.1, 0.2], [0.5, 0.9, 4.4]],
            [[4.2, 0.0, 0.0], [1.1, 3.9, 0.0], [0.0, 0.0, 4.2]],
        )
    )
    molecule = _system(6, box, nowhere, (False, False, False), n_types)
    crystal = _system(5, triclinic, triclinic, (True, True, True), n_types)
    slab = _system(6, layer, layer * torch.tensor([[1], [1], [3]]), (True, True, False), n_types)
    alone = _system(1, box, nowhere, (False, False, False), n_types)
    batch = _batch([slab, alone, molecule, crystal])
    return dict(zip(SYSTEMS, (molecule, crystal, slab, batch), strict=True))


def _system(n_atoms: int, space: Tensor, cell: Tensor, pbc: tuple[bool, ...], n_types: int) -> Systems:
    """Atoms anywhere in the parallelepiped `space`, 1.2 A or more apart."""
    source = torch.Generator().manual_seed(n_atoms)
    images = torch.tensor(list(product(*[(-2, -1, 0, 1, 2) if axis else (0,) for axis in pbc])), dtype=torch.float64)
    placed = torch.empty(0, 3, dtype=torch.float64)
    while len(placed) < n_atoms:
        candidate = torch.rand(3, generator=source, dtype=torch.float64) @ space
        if ((placed[:, None] + images @ cell - candidate).norm(dim=-1) > 1.2).all():
            placed = torch.cat([placed, candidate[None]])
    vectors = placed[None, :, None] - placed[:, None, None] + images @ cell
    lengths = vectors.norm(dim=-1)
    centre, neighbor, image = ((lengths < CUTOFF) & (lengths > 0)).nonzero().T
    return Systems(
        placed,
        cell[None],
        torch.stack([centre, neighbor]),
        images[image],
        torch.arange(n_atoms) % n_types,
        torch.zeros(n_atoms, dtype=torch.int64),
        torch.tensor([n_atoms]),
    )


def _batch(members: Iterable[Systems]) -> Systems:
    members = list(members)
    starts = torch.cumsum(torch.tensor([0, *[len(each.positions) for each in members[:-1]]]), 0)
    return Systems(
        torch.cat([each.positions for each in members]),
        torch.cat([each.cell for each in members]),
        torch.cat([each.edge_index + start for each, start in zip(members, starts, strict=True)], dim=1),
        torch.cat([each.edge_shift for each in members]),
        torch.cat([each.types for each in members]),
        torch.repeat_interleave(torch.arange(len(members)), torch.tensor([len(each.positions) for each in members])),
        torch.cat([each.n_atoms for each in members]),
    )
