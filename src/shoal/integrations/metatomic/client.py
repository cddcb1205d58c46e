"""An engine that knows metatomic and nothing of Shoal: what a file gives of batches of structures.

    python client.py MODEL.pt EXTENSIONS BATCHES RESULTS

EXTENSIONS is a folder of libraries. BATCHES and RESULTS are files of torch. A batch is a list of structures, each a
dictionary of tensors: positions (n, 3) A, cell (3, 3) A with zero rows for axes that are not periodic, pbc (3,),
types (n,) atomic numbers, pairs (E, 5) centre, neighbour and lattice shifts, vectors (E, 3) A. A result has energy (S,)
and atomic_energy (N,) eV, forces (N, 3) eV/A by the backward pass to the positions and virial (S, 3, 3) eV by that to a
strain.
"""

import sys

import torch
from metatensor.torch import Labels, TensorBlock
from metatomic.torch import (
    AtomisticModel,
    ModelEvaluationOptions,
    ModelOutput,
    System,
    load_atomistic_model,
    register_autograd_neighbors,
)

PAIR = ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]

Tensors = dict[str, torch.Tensor]


def evaluate(model: AtomisticModel, batch: list[Tensors]) -> Tensors:
    places = [structure["positions"].clone().requires_grad_(True) for structure in batch]
    strains = [torch.eye(3, dtype=torch.float64, requires_grad=True) for _ in batch]
    systems = [_system(model, *each) for each in zip(batch, places, strains, strict=True)]
    energy, atomic = (_energy(model, systems, kind) for kind in ("system", "atom"))
    gradients = torch.autograd.grad(energy.sum(), [*places, *strains])
    return {
        "energy": energy.detach(),
        "atomic_energy": atomic.detach(),
        "forces": -torch.cat(gradients[: len(batch)]),
        "virial": -torch.stack(gradients[len(batch) :]),
    }


def _system(model: AtomisticModel, given: Tensors, positions: torch.Tensor, strain: torch.Tensor) -> System:
    system = System(given["types"].to(torch.int32), positions @ strain, given["cell"] @ strain, given["pbc"])
    for options in model.requested_neighbor_lists():
        block = TensorBlock(
            given["vectors"][:, :, None],
            Labels(PAIR, given["pairs"].to(torch.int32)),
            [Labels(["xyz"], torch.arange(3, dtype=torch.int32)[:, None])],
            Labels(["distance"], torch.zeros(1, 1, dtype=torch.int32)),
        )
        register_autograd_neighbors(system, block, check_consistency=True)
        system.add_neighbor_list(options, block)
    return system


def _energy(model: AtomisticModel, systems: list[System], kind: str) -> torch.Tensor:
    options = ModelEvaluationOptions("angstrom", {"energy": ModelOutput(unit="eV", sample_kind=kind)}, None)
    return model(systems, options, check_consistency=True)["energy"].block().values[:, 0]


if __name__ == "__main__":
    file, extensions, given, results = sys.argv[1:]
    loaded = load_atomistic_model(file, extensions_directory=extensions)
    torch.save([evaluate(loaded, batch) for batch in torch.load(given)], results)
