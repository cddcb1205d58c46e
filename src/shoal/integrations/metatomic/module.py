"""What an engine calls: systems in, labelled energies out, in TorchScript.

N atoms, E edges, S systems. metatomic reads the annotations themselves, so they are not postponed here.
"""

from collections.abc import Mapping
from typing import Any, Dict, List, Optional  # noqa: UP035  (the forms that metatomic compares with)

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System
from torch import Tensor, nn

from shoal.neighbors import edge_vectors
from shoal.potentials._derivatives import system_energies


class PortableEnergies(nn.Module):
    """Atomic energies (N,) from positions by a traced model of edge vectors; the engine differentiates it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        positions: Tensor,
        cell: Tensor,
        edge_index: Tensor,
        edge_cell_shift: Tensor,
        atom_types: Tensor,
        system_index: Tensor,
    ) -> Tensor:
        vectors = edge_vectors(positions, cell, edge_index, edge_cell_shift, system_index)
        return self.model(vectors, edge_index, atom_types)


def native_energies(namespace: str, kernel: Mapping[str, Any]) -> nn.Module:
    """The same by a native kernel, through the operator that is registered in `namespace`.

    `kernel`: its `word`, the `targets` of its `libraries` (uint8) and its `weights`.
    """
    atomic_energies = getattr(torch.ops, namespace).atomic_energies

    class NativeEnergies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word: str = kernel["word"]
            self.targets: List[str] = kernel["targets"]  # noqa: UP006
            # lists, because buffers follow the model to other precisions
            self.libraries: List[Tensor] = kernel["libraries"]  # noqa: UP006
            self.weights: List[Tensor] = [kernel["weights"]]  # noqa: UP006

        def forward(
            self,
            positions: Tensor,
            cell: Tensor,
            edge_index: Tensor,
            edge_cell_shift: Tensor,
            atom_types: Tensor,
            system_index: Tensor,
        ) -> Tensor:
            return atomic_energies(
                positions,
                cell,
                edge_index,
                edge_cell_shift,
                atom_types,
                system_index,
                self.weights[0],
                self.libraries,
                self.targets,
                self.word,
            )

    return NativeEnergies()


class EngineModel(nn.Module):
    """The energy of metatomic's standard, per system or per atom, of all atoms or those selected.

    `atomic_energies`: module from positions (N, 3), cell (S, 3, 3), edge_index (2, E), edge_cell_shift (E, 3),
    atom_types (N,) and system_index (N,) to energies (N,) float64 eV. types_of (Z,): atom type of each atomic number.
    `cutoff` in A of the full list that the engine is asked for.
    """

    types_of: Tensor

    def __init__(self, atomic_energies: nn.Module, types_of: Tensor, cutoff: float) -> None:
        super().__init__()
        self.atomic_energies = atomic_energies
        self.register_buffer("types_of", types_of)
        self.neighbors = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:  # noqa: UP006
        return [self.neighbors]

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels] = None,  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        results: Dict[str, TensorMap] = {}  # noqa: UP006
        if "energy" in outputs:
            results["energy"] = self.energy(systems, outputs["energy"].sample_kind == "atom", selected_atoms)
        return results

    def energy(self, systems: List[System], per_atom: bool, selected_atoms: Optional[Labels]) -> TensorMap:  # noqa: UP006, UP045
        device = self.types_of.device
        # seeds of the joined tensors, for calls without systems
        positions = [torch.zeros(0, 3, dtype=torch.float64, device=device)]
        cells = [torch.zeros(0, 3, 3, dtype=torch.float64, device=device)]
        numbers = [torch.zeros(0, dtype=torch.int64, device=device)]
        edges = [torch.zeros(0, 5, dtype=torch.int64, device=device)]
        owners = [torch.zeros(0, 2, dtype=torch.int64, device=device)]
        starts: List[int] = []  # noqa: UP006
        start = 0
        for s, system in enumerate(systems):
            n_atoms = len(system)
            pairs = system.get_neighbor_list(self.neighbors).samples.values.to(torch.int64)
            positions.append(system.positions)
            cells.append(system.cell[None])
            numbers.append(system.types.to(torch.int64))
            edges.append(torch.cat([pairs[:, :2] + start, pairs[:, 2:]], dim=1))
            atom = torch.arange(n_atoms, device=device)
            owners.append(torch.stack([torch.full_like(atom, s), atom], dim=1))
            starts.append(start)
            start += n_atoms
        edge, owner = torch.cat(edges), torch.cat(owners)
        atomic = self.atomic_energies(
            torch.cat(positions),
            torch.cat(cells),
            edge[:, :2].t().contiguous(),
            edge[:, 2:],
            self.types_of[torch.cat(numbers)],
            owner[:, 0],
        )
        if selected_atoms is not None:
            owner_selected = selected_atoms.values.to(torch.int64)
            first = torch.tensor(starts, dtype=torch.int64, device=device)
            rows = first[owner_selected[:, 0]] + owner_selected[:, 1]
            if per_atom:
                atomic, owner = atomic[rows], owner_selected
            else:
                atomic = atomic * torch.zeros_like(atomic.detach()).index_fill(0, rows, 1.0)
        if per_atom:
            return self.labelled(atomic, ["system", "atom"], owner)
        samples = torch.arange(len(systems), device=device)[:, None]
        return self.labelled(system_energies(atomic, owner[:, 0], len(systems)), ["system"], samples)

    def labelled(self, values: Tensor, names: List[str], samples: Tensor) -> TensorMap:  # noqa: UP006
        """One block of values (R,) with samples (R, len(names))."""
        zero = torch.zeros(1, 1, dtype=torch.int32, device=values.device)
        components: List[Labels] = []  # noqa: UP006
        block = TensorBlock(
            values=values[:, None],
            samples=Labels(names, samples.to(torch.int32)),
            components=components,
            properties=Labels(["energy"], zero),
        )
        return TensorMap(Labels(["_"], zero), [block])
