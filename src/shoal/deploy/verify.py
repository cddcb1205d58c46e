"""Is a compiled file the model it was made from? Measured on real structures before the file is given out.

N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch

from shoal.contract import QUANTITIES
from shoal.errors import CompileError
from shoal.neighbors import neighbor_list
from shoal.potentials import CompiledPotential, LearnedPotential, Potential
from shoal.potentials._derivatives import cell_volume
from shoal.state import SimState, concatenate, select

TOLERANCE = {"float64": 1e-10, "float32": 5e-5}
"""Compiled against eager of the same dtype: abs(a - b) <= tol * max(1, scale)."""
FLOAT32_LIMIT = 5e-4
"""A float32 file against eager float64; beyond this it is refused."""

Results = Mapping[str, torch.Tensor]


class Batch(NamedTuple):
    """Structures evaluated together and their atom types (N,)."""

    name: str
    state: SimState
    types: torch.Tensor


def verify(
    compiled: CompiledPotential,
    eager: LearnedPotential,
    structures: SimState,
    atom_types: torch.Tensor,
    allowed: float = 0.0,
    others: Sequence[CompiledPotential] = (),
) -> dict[str, float]:
    """Largest differences of a compiled file to its eager model, in its own dtype and in float64.

    Batches: every structure alone, two together, all together, many, one atom alone (no edges). `atom_types` (N,).
    `allowed`: a difference that is meant to be there. `others`: the same file by its other kernels.
    Keys: energy (eV/atom), atomic_energy (eV), both without the isolated atoms, forces (eV/A), virial (eV) and
    stress (eV/A^3, of systems with a volume) against the same dtype, the same with `_float64`.
    Raises CompileError naming the quantity and the batch when a difference exceeds its tolerance or is NaN.
    """
    batches = [
        Batch(name, state.to(compiled.device), types.to(compiled.device))
        for name, state, types in batches_of(structures, atom_types)
    ]
    codes = {f" ({each.instruction_set})" if each.instruction_set else "": each for each in (compiled, *others)}
    results = [{code: _evaluate(each, batch.state, batch.types) for code, each in codes.items()} for batch in batches]
    return compare(batches, results, eager, allowed)


def compare(
    batches: Sequence[Batch],
    results: Sequence[Mapping[str, Results]],
    eager: LearnedPotential,
    allowed: float = 0.0,
    what: str = "compiled",
) -> dict[str, float]:
    """The same for what a file, in words `what` it is, gave for each of the batches.

    `results`: native quantities by name, by each code of the file, in words that follow those of the quantity.
    """
    exact = eager.with_core_dtype("float64").to(batches[0].state.device)
    references = {"": (eager, max(TOLERANCE[eager.model_dtype], allowed)), "_float64": (exact, FLOAT32_LIMIT)}
    worst: dict[str, float] = {}
    for (name, state, types), got in zip(batches, results, strict=True):
        for suffix, (reference, tolerance) in references.items():
            expected = _evaluate(reference, state, types)
            shifts = _evaluate(reference, _isolated(state), types)
            want = _comparable(expected, shifts, state)
            found = {code: _comparable(values, shifts, state) for code, values in got.items()}
            for (code, have), quantity in product(found.items(), QUANTITIES):
                difference, scale = _largest(have[quantity], want[quantity])
                if not difference <= tolerance * max(1.0, scale):
                    raise CompileError(
                        f"the {what} {quantity}{code} of {name} differs by {difference:.1e} from the eager model "
                        f"(allowed {tolerance * max(1.0, scale):.1e}); no file was written. "
                        "The package itself works eagerly: shoal.load('MODEL.shoal')"
                    )
                worst[quantity + suffix] = max(worst.get(quantity + suffix, 0.0), difference)
    return worst


def _comparable(values: Results, shifts: Results, state: SimState) -> dict[str, torch.Tensor]:
    """Energies without isolated atoms, the total per atom; stress only where the cell has a volume."""
    sizes = state.n_atoms_per_system.to(state.device).clamp(min=1)
    return {
        **values,
        "energy": (values["energy"] - shifts["energy"]) / sizes,
        "atomic_energy": values["atomic_energy"] - shifts["atomic_energy"],
        "stress": values["stress"][cell_volume(state.cell) > 0],
    }


def batches_of(structures: SimState, types: torch.Tensor) -> list[Batch]:
    """What files are held against the eager model on."""
    n = structures.n_systems

    def part(systems: list[int]) -> tuple[SimState, torch.Tensor]:
        rows = [types[structures.offsets[s] : structures.offsets[s + 1]] for s in systems]
        return select(structures, systems), torch.cat(rows)

    batches = [Batch(f"reference structure {s} alone", *part([s])) for s in range(n)]
    batches.append(Batch("two reference structures", *part([0, n - 1] if n > 1 else [0])))
    batches.append(Batch("all reference structures", structures, types))
    atom = SimState.build(structures.positions[:1], structures.atomic_numbers[:1], [1])
    batches.append(Batch("a single atom", atom, types[:1]))
    many = concatenate([structures] * 3, renumber=True)
    batches.append(Batch("many structures", many, types.repeat(3)))
    return batches


def _isolated(state: SimState) -> SimState:
    """The same atoms, too far apart to feel each other."""
    spread = torch.arange(state.n_atoms, dtype=state.dtype, device=state.device)[:, None] * 1e3
    return state.replace(
        positions=spread.expand(-1, 3).clone(), cell=torch.zeros_like(state.cell), pbc=torch.zeros_like(state.pbc)
    )


def _evaluate(potential: Potential, state: SimState, types: torch.Tensor) -> dict[str, torch.Tensor]:
    return potential(state, neighbor_list(state, potential.cutoff), QUANTITIES, atom_types=types)


def _largest(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Largest difference (infinite if anything is NaN) and largest value."""
    if not a.numel():
        return 0.0, 0.0
    difference = float((a - b).abs().max())
    return difference if difference == difference else float("inf"), float(b.abs().max())
