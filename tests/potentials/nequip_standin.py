"""Files laid out as nequip-compile writes them, around a pair potential whose numbers can be worked out by hand.

With A = STRENGTH[centre][neighbour] and B = SHIFT[type], E_i = B_i + 1/2 sum_j A_ij (1 - r_ij / R_MAX)^3. The model
takes every edge it is given, so that which edges reach it shows in its numbers.

N atoms, E edges, S systems.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.cell import Cell
from ase.neighborlist import primitive_neighbor_list
from torch import Tensor, nn

R_MAX = 4.0
TYPES = ("Si", "C")
STRENGTH = ((3.0, 1.7), (1.1, 2.3))
SHIFT = (-4.0, -7.5)
INPUTS = ("pos", "edge_index", "atom_types", "cell", "edge_cell_shift", "batch", "num_atoms")
OUTPUTS = ("atomic_energy", "total_energy", "forces", "stress")
STRINGS = {
    "model_dtype": "float64",
    "type_names": " ".join(TYPES),
    "num_types": str(len(TYPES)),
    "r_max": str(R_MAX),
    "allow_tf32": "0",
}
FIELDS = {"nequip_aoti_inputs": " ".join(INPUTS), "nequip_aoti_outputs": " ".join(OUTPUTS)}


class PairModel(nn.Module):
    """The documented signature: a dict of tensors in, a dict of tensors out."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("strength", torch.tensor(STRENGTH, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(SHIFT, dtype=torch.float64))
        self.r_max = R_MAX

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        pos, cell, batch, types = data["pos"], data["cell"], data["batch"], data["atom_types"]
        n_systems = data["num_atoms"].shape[0]
        pos.requires_grad_(True)
        strain = torch.zeros((n_systems, 3, 3), dtype=pos.dtype, device=pos.device).requires_grad_(True)
        symmetric = 0.5 * (strain + strain.transpose(1, 2))
        moved = pos + torch.bmm(pos.unsqueeze(1), symmetric[batch]).squeeze(1)
        strained = cell + torch.bmm(cell, symmetric)
        i, j = data["edge_index"][0], data["edge_index"][1]
        translation = torch.bmm(data["edge_cell_shift"].unsqueeze(1), strained[batch[i]]).squeeze(1)
        lengths = (moved[j] - moved[i] + translation).square().sum(1).sqrt()
        x = 1.0 - lengths / self.r_max
        pair = 0.5 * self.strength[types[i], types[j]] * torch.where(x > 0, x * x * x, 0.0 * x)
        atomic = self.shift[types] + torch.zeros_like(pos[:, 0]).index_add(0, i, pair)
        total = torch.zeros_like(cell[:, 0, 0]).index_add(0, batch, atomic)
        found = torch.zeros_like(total).index_add(0, batch, torch.ones_like(atomic))
        total = total + 1000.0 * (found - data["num_atoms"])  # nothing, unless the counts are wrong
        gradients = torch.autograd.grad([total.sum()], [pos, strain])
        d_pos, d_strain = gradients[0], gradients[1]
        assert d_pos is not None
        assert d_strain is not None
        volume = torch.linalg.det(cell).abs().view(-1, 1, 1)
        return {
            "atomic_energy": atomic.unsqueeze(1),
            "total_energy": total.unsqueeze(1),
            "forces": -d_pos,
            "stress": d_strain / volume,
        }


class _Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = PairModel()

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        # the example's positions stay as they are: only their alias asks for a gradient
        outputs = self.model(dict(zip(INPUTS, (tensors[0].detach(), *tensors[1:]), strict=True)))
        return [outputs[name] for name in OUTPUTS]


def write_torchscript(path: Path, model: nn.Module | None = None) -> Path:
    """A `.nequip.pth`: metadata as extra files."""
    extra = {key: value.encode() for key, value in STRINGS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(model or PairModel()), str(path), _extra_files=extra)
    return path


def write_native(path: Path, device: str = "cpu") -> Path:
    """A `.nequip.pt2`: metadata beside the code, by the compiler itself."""
    from torch.export import Dim, export
    from torch.fx.experimental.proxy_tensor import make_fx

    tensors = (
        torch.rand(6, 3, dtype=torch.float64),
        torch.tensor([[0, 1, 1, 3, 4], [1, 0, 2, 4, 3]]),
        torch.tensor([0, 1, 0, 1, 0, 0]),
        4 * torch.eye(3, dtype=torch.float64).repeat(2, 1, 1),
        torch.zeros(5, 3, dtype=torch.float64),
        torch.tensor([0, 0, 0, 1, 1, 1]),
        torch.tensor([3, 3]),
    )
    inputs = tuple(tensor.to(device) for tensor in tensors)
    atoms, edges, systems = (Dim(name, min=2, max=2**40) for name in ("atoms", "edges", "systems"))
    sizes = ({0: atoms}, {1: edges}, {0: atoms}, {0: systems}, {0: edges}, {0: atoms}, {0: systems})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = make_fx(_Listed().to(device), tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
        program = export(graph, inputs, dynamic_shapes=sizes, strict=False)
        options = {"aot_inductor.metadata": STRINGS | FIELDS}
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    return path


def changed(source: Path, path: Path, strings: Mapping[str, str | None]) -> Path:
    """A copy of a file with other metadata; None takes an entry out."""
    with zipfile.ZipFile(source) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    native = source.name.endswith(".pt2")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            if native and name.endswith("_metadata.json"):
                content = json.loads(data) | strings
                data = json.dumps({key: value for key, value in content.items() if value is not None}).encode()
            if native or name.split("/extra/")[-1] not in strings:
                archive.writestr(name, data)
        if not native:
            root = members[0][0].split("/")[0]
            for key, value in strings.items():
                if value is not None:
                    archive.writestr(f"{root}/extra/{key}", value)
    return path


def by_hand(atoms: Atoms, cutoffs: Mapping[tuple[int, int], float] | None = None) -> dict[str, np.ndarray]:
    """Energy, atomic energies, forces and virial of one structure, by the formula and its derivative on ASE's list.

    `cutoffs` (A) by types of centre and neighbour: edges beyond them are left out.
    """
    types = np.array([TYPES.index(symbol) for symbol in atoms.get_chemical_symbols()], dtype=int)
    cell = Cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0))
    i, j, vectors = primitive_neighbor_list("ijD", atoms.pbc, cell.complete(), atoms.positions, R_MAX)
    lengths = np.linalg.norm(vectors, axis=1)
    if cutoffs is not None:
        near = lengths <= np.array([cutoffs[types[a], types[b]] for a, b in zip(i, j, strict=True)])
        i, j, vectors, lengths = i[near], j[near], vectors[near], lengths[near]
    strength = np.array(STRENGTH)[types[i], types[j]]
    x = 1 - lengths / R_MAX
    atomic = np.array(SHIFT)[types]
    np.add.at(atomic, i, 0.5 * strength * x**3)
    gradient = (-1.5 * strength * x**2 / R_MAX / lengths)[:, None] * vectors
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, gradient)
    np.add.at(forces, j, -gradient)
    virial = -vectors.T @ gradient
    return {"energy": atomic.sum(), "atomic_energy": atomic, "forces": forces, "virial": virial}
