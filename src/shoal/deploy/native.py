"""The native kernel of a model: how fine its tables must be, and libraries for all instruction sets of this machine.

N atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch

from shoal.architectures.native import plan_of, source_of
from shoal.errors import CompileError, InputError
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
    """Pieces of the tables; largest change they make to a force, as a share of it where it is above 1 eV/A.

    `trained`: the pieces are those of training, and the change is to the networks, which the model never was.
    """

    pieces: int
    force_error: float
    trained: bool = False

    def described(self) -> dict[str, int | float | str]:
        """What metadata say of it."""
        chosen = "training" if self.trained else "table_error"
        return {"pieces": self.pieces, "force_error": self.force_error, "chosen_by": chosen}


def radial_table(
    potential: LearnedPotential,
    reference: Mapping[str, torch.Tensor],
    exact: bool | None,
    allowed: float,
    *,
    native: bool,
) -> RadialTable | None:
    """The tables that stand for the radial networks: those of training, or what a `native` kernel may take.

    `exact`: the networks themselves; None: in float64. Raises InputError where training took tables, CompileError.
    """
    if trained := potential.spec.radial_table:
        if exact:
            raise InputError(
                f"the model was trained with radial tables of {trained} pieces, its networks alone are another model: "
                "leave --exact out"
            )
        return choose_table(potential, reference)
    if not native or exact or (exact is None and potential.model_dtype == "float64"):
        return None
    return choose_table(potential, reference, allowed)


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

    A model that was trained with tables keeps its own, whatever they change. Measured in float64 with the tables in
    the model's place of the radial networks, on the structures of a package's `reference` and on dimers of its types
    from the shortest distance among them to the cutoff. Without nuclear repulsion: it has no table, and beside its
    forces any error would be a small share. Raises CompileError if no table is fine enough.
    """
    checked_architecture(potential)
    trained = potential.spec.radial_table
    exact = potential.with_core_dtype("float64").with_radial_table(None).without_zbl()
    structures, types = tensors_to_structures(reference)
    dimers, dimer_types = _dimers(potential, structures)
    state, types = concatenate([structures, dimers], renumber=True), torch.cat([types, dimer_types])
    neighbors = neighbor_list(state, potential.cutoff)

    def forces(model: LearnedPotential) -> torch.Tensor:
        return model(state, neighbors, ("forces",), atom_types=types)["forces"]

    expected = forces(exact)
    scale = expected.norm(dim=1).clamp(min=1.0)
    error = float("inf")
    for pieces in PIECES if trained is None else (trained,):
        error = float(((forces(exact.with_radial_table(pieces)) - expected).norm(dim=1) / scale).max())
        if error <= allowed or trained:
            return RadialTable(pieces, error, trained is not None)
    raise CompileError(
        f"radial tables of {PIECES[-1]} pieces change forces by {error:.1e} eV/A, allowed are {allowed:.1e}; "
        "compile with --exact, which takes the radial networks themselves"
    )


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
