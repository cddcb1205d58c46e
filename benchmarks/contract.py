"""What the labelled face costs: over the native one, per atom over per system, and a committee over its members.

A silicon NequIP (2 layers, l_max 1, 32 features, radial network 2 x 64, cutoff 5 A, about 28 neighbours, float32 core,
untrained: time does not depend on the numbers), eager, and its file where one is given. Every call begins with a state
and includes the neighbour list. All sides of a comparison take turns in one process; run with nothing else running.

    OMP_NUM_THREADS=1 python benchmarks/contract.py --out benchmarks/results/contract.md
    python benchmarks/contract.py --compiled FILE.shoal.pt2     of any silicon model whose type is Si
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from _rounds import Timing, alternate, machine
from shoal.contract import OutputRequest
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import Committee, CompiledPotential, LearnedPotential, Potential, StillingerWeber
from shoal.state import SimState

GRADIENTS = ("positions", "strain")
Sides = dict[str, Callable[[], object]]


def model(seed: int) -> LearnedPotential:
    config = {
        "cutoff": 5.0,
        "type_names": ["Si"],
        "mean_neighbors": 28.0,
        "num_layers": 2,
        "l_max": 1,
        "num_features": 32,
        "radial_mlp_depth": 2,
        "radial_mlp_width": 64,
        "seed": seed,
    }
    return LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map={"Si": "Si"})


def silicon(case: str) -> SimState:
    """`SxN`: S rattled silicon crystals of N atoms, N = 8 k^3."""
    n_systems, n_atoms = map(int, case.split("x"))
    k = round((n_atoms / 8) ** (1 / 3))
    cells: list[Atoms] = []
    for seed in range(n_systems):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True) * (k, k, k)
        atoms.positions += np.random.default_rng(seed).normal(0, 0.05, atoms.positions.shape)
        cells.append(atoms)
    return atoms_to_state(cells)


def faces(potential: Potential, state: SimState) -> Sides:
    """Energy, forces and stress of all systems, natively and with labels."""
    calculator = shoal.BatchCalculator(potential, chemical_species_to_atom_type_map=True)
    types = calculator.type_map(state)
    request = {"energy": OutputRequest(explicit_gradients=GRADIENTS)}
    return {
        "native": lambda: calculator(state),
        "labelled": lambda: potential.outputs(state, request, atom_types=types),
    }


def per_atom(potential: Potential, state: SimState, loop_atoms: int) -> Sides:
    """The gradients of the energy, those of every atomic energy in one call, and of some by a backward pass each."""

    def outputs(kind: str) -> Callable[[], object]:
        request = OutputRequest(sample_kind=kind, explicit_gradients=GRADIENTS)  # type: ignore[arg-type]
        return lambda: potential.outputs(state, {"energy": request})

    return {
        "system": outputs("system"),
        "vectorised": outputs("atom"),
        "evaluation": lambda: backward_passes(potential, state, 0),
        "loop": lambda: backward_passes(potential, state, loop_atoms),
    }


def backward_passes(potential: Potential, state: SimState, n_atoms: int) -> list[tuple[torch.Tensor, ...]]:
    """dE_i/dr_j and dE_i/d(strain) of the first atoms, as one would write it: one evaluation, then a loop."""
    neighbors, types = neighbor_list(state, potential.cutoff), potential.type_map()(state)
    positions = state.positions.clone().requires_grad_()
    strain = torch.zeros_like(state.cell).requires_grad_()
    deformation = torch.eye(3, dtype=torch.float64) + strain
    moved = (positions[:, None] @ deformation[state.system_index])[:, 0]
    request = {"energy": OutputRequest(sample_kind="atom")}
    values = (
        potential.outputs(
            state.replace(positions=moved, cell=state.cell @ deformation), request, None, neighbors, types
        )["energy"]
        .block()
        .values
    )
    return [torch.autograd.grad(values[i, 0], (positions, strain), retain_graph=True) for i in range(n_atoms)]


def committees(state: SimState, n_members: int = 4) -> Sides:
    """Energy, forces and stress of the mean, and of each member by itself."""
    members = [model(seed) for seed in range(n_members)]
    single = [shoal.BatchCalculator(member) for member in members]
    together = shoal.BatchCalculator(Committee(members))
    return {"committee": lambda: together(state), "single calls": lambda: [one(state) for one in single]}


def differences(potential: Potential) -> tuple[float, float]:
    """Largest differences between the sides: forces of both faces, gradients per atom of both ways, eV/A."""
    state = silicon("1x8")
    face, atoms = faces(potential, state), per_atom(potential, state, 8)
    native, labelled = face["native"](), face["labelled"]()
    forces = native["forces"] + labelled["energy"].block().gradient("positions").values[..., 0]  # type: ignore[index]
    gradient = atoms["vectorised"]()["energy"].block().gradient("positions")  # type: ignore[index]
    sample, _, atom = gradient.samples.values.long().unbind(1)
    dense = torch.zeros(8, 8, 3, dtype=torch.float64).index_put((sample, atom), gradient.values[..., 0])
    loop = torch.stack([slope for slope, _ in atoms["loop"]()])  # type: ignore[attr-defined]
    return float(forces.abs().max()), float((dense - loop).abs().max())


def committee_difference() -> float:
    """Largest difference of the committee's forces to the mean of its members', eV/A."""
    sides = committees(silicon("1x8"))
    mean = torch.stack([one["forces"] for one in sides["single calls"]()]).mean(0)  # type: ignore[attr-defined]
    return float((sides["committee"]()["forces"] - mean).abs().max())  # type: ignore[index]


def extended(evaluation: Timing, loop: Timing, times: float) -> Timing:
    """The time of a loop over more atoms: one evaluation and that many times the backward passes, as scattered."""
    median = evaluation.median + times * (loop.median - evaluation.median)
    return Timing(median, *(median * t / loop.median for t in (loop.low, loop.high, loop.best)))


def row(name: str, timings: Iterable[Timing], ratios: Iterable[float]) -> str:
    times = [f"{t.median * 1e3:.2f} ({t.low * 1e3:.2f}-{t.high * 1e3:.2f})" for t in timings]
    return f"| {name} | " + " | ".join([*times, *(f"{ratio:.2f}" for ratio in ratios)]) + " |"


def table(header: str, rows: list[str]) -> str:
    columns = header.count("|") - 1
    return "\n".join([header, "|---" * columns + "|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiled", type=Path, help="a .shoal.pt2 of a silicon model, for the two faces")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--faces", nargs="*", default=["1x8", "1x64", "64x64"])
    parser.add_argument("--atoms", nargs="*", default=["1x64", "1x1000"])
    parser.add_argument("--committee", nargs="*", default=["1x8", "1x64", "8x64", "64x64"])
    parser.add_argument(
        "--loop-atoms", type=int, default=16, help="atoms the loop differentiates, of 1000 and the like"
    )
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    potentials: dict[str, Potential] = {"NequIP": model(0), "Stillinger-Weber": StillingerWeber()}
    files = {} if arguments.compiled is None else {"compiled file": CompiledPotential(arguments.compiled)}

    rows = []
    for case in arguments.faces:
        for name, potential in {**potentials, **files}.items():
            t = alternate(faces(potential, silicon(case)), arguments.rounds)
            ratio = t["labelled"].median / t["native"].median
            rows.append(row(f"{name}, {case}", [t["native"], t["labelled"]], [ratio]))
    text = "## Labelled over native: energy, forces and stress, ms\n\n"
    text += table("| model, systems x atoms | native | labelled | ratio |", rows)

    rows = []
    for case in arguments.atoms:
        for name, potential in potentials.items():
            state = silicon(case)
            some = min(arguments.loop_atoms, state.n_atoms) if state.n_atoms > 64 else state.n_atoms
            t = alternate(per_atom(potential, state, some), arguments.rounds)
            loop = extended(t["evaluation"], t["loop"], state.n_atoms / some)
            label = f"{name}, {case}" + (f" (loop: measured for {some} atoms)" if some < state.n_atoms else "")
            system, vectorised = t["system"], t["vectorised"]
            pairs = ((vectorised, system), (loop, system), (vectorised, loop))
            ratios = [a.median / b.median for a, b in pairs]
            rows.append(row(label, [t["system"], t["vectorised"], loop], ratios))
    text += "\n\n## Gradients per atom over one gradient per system, ms\n\n"
    header = "| model, systems x atoms | system | per atom, one call | per atom, loop of backward passes |"
    text += table(header + " one call / system | loop / system | one call / loop |", rows)

    rows = []
    for case in arguments.committee:
        t = alternate(committees(silicon(case)), arguments.rounds)
        ratio = t["committee"].median / t["single calls"].median
        rows.append(row(case, [t["committee"], t["single calls"]], [ratio]))
    text += "\n\n## A committee of 4 over 4 single calls, ms\n\n"
    text += table("| systems x atoms | committee | 4 single calls | ratio |", rows)

    text += "\n\nLargest differences between the sides, eV/A:"
    for name, potential in potentials.items():
        face, atom = differences(potential)
        text += f" {name} faces {face:.1e}, per atom {atom:.1e};"
    text += f" committee {committee_difference():.1e}."
    head = f"# benchmarks/contract.py\n\n{machine()}; {arguments.threads} threads; torch {torch.__version__}, "
    head += f"shoal {shoal.__version__}; {arguments.rounds} alternate rounds, median (quartiles)\n\n"
    print(head + text)
    if arguments.out:
        arguments.out.write_text(head + text + "\n")


if __name__ == "__main__":
    main()
