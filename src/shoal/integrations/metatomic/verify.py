"""Is an exported file the model it was made from? What an engine without Shoal gets is held against the eager model.

N atoms, S systems, T types.
"""

from __future__ import annotations

from pathlib import Path

import torch

from shoal.architectures.native import Kernel
from shoal.deploy.verify import Batch, Results, batches_of, compare
from shoal.files import Package
from shoal.files.kernels import KernelFiles
from shoal.files.reference import tensors_to_structures
from shoal.integrations.metatomic.processes import run_python
from shoal.native import load_bytes, runnable_targets
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.potentials._derivatives import stress
from shoal.potentials.native import evaluate
from shoal.state import TypeMap, split

CLIENT = Path(__file__).with_name("client.py")


def verify(
    folder: Path, potential: LearnedPotential, content: Package, species: TypeMap, allowed: float
) -> dict[str, float]:
    """Largest differences of `model.pt` in a folder, with its `extensions`, as `shoal.deploy.verify.verify` names them.

    Raises CompileError for a difference beyond `allowed` and the tolerance of the model's precision.
    """
    numbers = _number_of_each_type(species)
    structures, types = tensors_to_structures(content.reference)
    # engines name elements: a type that none has is taken for one that some have, in file and model alike
    known = int((numbers >= 0).nonzero()[0])
    types = torch.where(numbers[types] >= 0, types, known)
    batches = batches_of(structures, types)
    given = [_as_engines_see(batch, numbers, potential.cutoff) for batch in batches]
    torch.save(given, folder / "batches")
    files = [str(folder / each) for each in ("model.pt", "extensions", "batches", "results")]
    run_python("the exported file does not run", str(CLIENT), *files)
    results = torch.load(folder / "results")
    given_back = [{"": _with_stress(*pair)} for pair in zip(batches, results, strict=True)]
    return compare(batches, given_back, potential, allowed, what="exported")


def verify_libraries(made: KernelFiles, potential: LearnedPotential, content: Package, allowed: float) -> None:
    """Hold every library of a kernel that runs here against the eager model, because a file takes the best it finds.

    Raises CompileError.
    """
    structures, types = tensors_to_structures(content.reference)
    batches = batches_of(structures, types)
    lists = [neighbor_list(batch.state, potential.cutoff) for batch in batches]
    names = [target.name for target in runnable_targets() if target.name in made.libraries]
    kernels = {f" ({name})": Kernel(load_bytes(made.libraries[name]), made.weights) for name in names}
    results = [
        {code: evaluate(kernel, batch.state, pairs, batch.types, None) for code, kernel in kernels.items()}
        for batch, pairs in zip(batches, lists, strict=True)
    ]
    compare(batches, results, potential, allowed, what="exported")


def _number_of_each_type(species: TypeMap) -> torch.Tensor:
    """(T,) an atomic number of each type, -1 where no element has it."""
    table = species.of_numbers
    numbers = torch.full((species.n_types,), -1, dtype=torch.int64)
    for number in (table >= 0).nonzero()[:, 0].tolist():
        numbers[table[number]] = number
    return numbers


def _as_engines_see(batch: Batch, numbers: torch.Tensor, cutoff: float) -> list[dict[str, torch.Tensor]]:
    """What client.py takes."""
    state = batch.state
    neighbors = neighbor_list(state, cutoff)
    vectors = neighbors.edge_vectors(state.positions, state.cell)
    of_edge = state.system_index[neighbors.edge_index[0]]
    structures = []
    for s, system in enumerate(split(state)):
        first, last = int(state.offsets[s]), int(state.offsets[s + 1])
        own = of_edge == s
        pairs = torch.cat([neighbors.edge_index[:, own].t() - first, neighbors.shifts[own]], dim=1)
        structures.append(
            {
                "positions": system.positions,
                "cell": torch.where(system.pbc[0][:, None], system.cell[0], 0.0),
                "pbc": system.pbc[0],
                "types": numbers[batch.types[first:last]],
                "pairs": pairs,
                "vectors": vectors[own],
            }
        )
    return structures


def _with_stress(batch: Batch, result: Results) -> Results:
    """Volumes are those of the whole cell, of which an engine has the periodic rows only."""
    return {**result, "stress": stress(-result["virial"], batch.state.cell)}
