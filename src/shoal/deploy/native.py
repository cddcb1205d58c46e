"""The native kernel of a model: how fine its tables must be, and libraries for all instruction sets of this machine.

N atoms.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch

from shoal.architectures.native import plan_of, source_of
from shoal.architectures.tabulated import tabulate
from shoal.errors import CompileError
from shoal.files.kernels import KernelFiles
from shoal.files.reference import tensors_to_structures
from shoal.native import build, machine_targets
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.potentials.native import checked_architecture
from shoal.state import SimState, concatenate

PIECES = (128, 256, 512, 1024, 2048, 4096)
TABLE_ERROR = 1e-5
"""eV/A: largest error that tables may cause in the force on an atom, times that force where it is above 1 eV/A."""
DIMERS_OF = 8
"""Types of which all pairs are scanned; of more, pairs of one type."""


class RadialTable(NamedTuple):
    """Pieces of the tables; largest error they cause in a force, as a share of it where it is above 1 eV/A."""

    pieces: int
    force_error: float


def chosen_kernel(
    potential: LearnedPotential, reference: Mapping[str, torch.Tensor], exact: bool | None, allowed: float
) -> tuple[KernelFiles, RadialTable | None]:
    """A kernel with tables as fine as `allowed` asks (see `choose_table`), or, `exact`, with the radial networks.

    `exact` None: in float64. Raises CompileError, UnsupportedRequestError.
    """
    if exact is None:
        exact = potential.model_dtype == "float64"
    table = None if exact else choose_table(potential, reference, allowed)
    return native_kernel(potential, None if table is None else table.pieces), table


def native_kernel(potential: LearnedPotential, pieces: int | None) -> KernelFiles:
    """Text, libraries for all instruction sets, weights. Raises CompileError, UnsupportedRequestError."""
    plan = plan_of(checked_architecture(potential), pieces)
    source = source_of(plan)
    targets = machine_targets()
    with ThreadPoolExecutor(2) as pool:  # the compiler is a process of its own
        libraries = dict(zip([t.name for t in targets], pool.map(lambda t: build(source, t), targets), strict=True))
    return KernelFiles("nequip", source, libraries, plan.weights)


def choose_table(
    potential: LearnedPotential, reference: Mapping[str, torch.Tensor], allowed: float = TABLE_ERROR
) -> RadialTable:
    """The fewest pieces that change no force by more than `allowed` (eV/A, times that force where it is above 1 eV/A).

    Measured in float64 with the tables in the model's place of the radial networks, on the structures of a package's
    `reference` and on dimers of its types from the shortest distance among them to the cutoff. Raises CompileError if
    no table is fine enough.
    """
    checked_architecture(potential)
    exact = potential.with_core_dtype("float64")
    structures, types = tensors_to_structures(reference)
    dimers, dimer_types = _dimers(potential, structures)
    state, types = concatenate([structures, dimers], renumber=True), torch.cat([types, dimer_types])
    neighbors = neighbor_list(state, potential.cutoff)

    def forces(model: LearnedPotential) -> torch.Tensor:
        return model(state, neighbors, ("forces",), atom_types=types)["forces"]

    expected = forces(exact)
    scale = expected.norm(dim=1).clamp(min=1.0)
    error = float("inf")
    for pieces in PIECES:
        error = float(((forces(_tabulated(exact, pieces)) - expected).norm(dim=1) / scale).max())
        if error <= allowed:
            return RadialTable(pieces, error)
    raise CompileError(
        f"radial tables of {PIECES[-1]} pieces change forces by {error:.1e} eV/A, allowed are {allowed:.1e}; "
        "compile with --exact, which takes the radial networks themselves"
    )


def _tabulated(potential: LearnedPotential, pieces: int) -> LearnedPotential:
    """The same potential with tables for its radial networks."""
    copied = copy.copy(potential)
    copied._modules = dict(potential._modules)
    copied.model = copy.deepcopy(potential.model)
    tabulate(copied.model, pieces)
    return copied


def _dimers(potential: LearnedPotential, structures: SimState) -> tuple[SimState, torch.Tensor]:
    """Pairs of atoms from the shortest distance of the structures to the cutoff, with their types (N,)."""
    n_types = len(potential.type_names)
    pairs = (
        list(combinations_with_replacement(range(n_types), 2))
        if n_types <= DIMERS_OF
        else [(k, k) for k in range(n_types)]
    )
    edges = neighbor_list(structures, potential.cutoff)
    lengths = edges.edge_vectors(structures.positions, structures.cell).norm(dim=1)
    shortest = float(lengths.min()) if len(lengths) else 0.5 * potential.cutoff
    distances = torch.linspace(shortest, potential.cutoff, 40, dtype=torch.float64)
    positions = torch.zeros(len(pairs), len(distances), 2, 3, dtype=torch.float64)
    positions[:, :, 1, 0] = distances
    n = len(pairs) * len(distances)
    numbers = torch.ones(2 * n, dtype=torch.int64)
    state = SimState.build(positions.reshape(-1, 3), numbers, [2] * n)
    return state.to(dtype=structures.dtype), torch.tensor(pairs).repeat_interleave(len(distances), dim=0).flatten()
