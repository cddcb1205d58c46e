"""Neighbour lists and kernels of classical potentials, us/atom: C++ kernels beside vesin and beside plain torch.

Whole calls of `shoal.neighbors.neighbor_list` (silicon, cutoff 5 A, 28 neighbours; argon, 8.5 A, 73), of what the loop
makes of lists with a skin of 1 A, and of Lennard-Jones and Stillinger-Weber on a ready list. Run with nothing else
running:

    python benchmarks/neighbors.py --threads 2 --out benchmarks/results/neighbors.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from _rounds import Timing, alternate, machine
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list, refreshed
from shoal.potentials import LennardJones, StillingerWeber
from shoal.state import SimState

CRYSTALS: dict[str, tuple[Callable[[], Atoms], float]] = {
    "Si": (lambda: bulk("Si", "diamond", a=5.43, cubic=True), 5.0),
    "Ar": (lambda: bulk("Ar", "fcc", a=5.26, cubic=True), 8.5),
}
CASES = {
    "Si 1x8": ("Si", 1, 1),
    "Si 64x8": ("Si", 64, 1),
    "Si 500x8": ("Si", 500, 1),
    "Si 64x64": ("Si", 64, 2),
    "Si 1x4096": ("Si", 1, 8),
    "Ar 16x256": ("Ar", 16, 4),
}


def state_of(element: str, n_systems: int, repeat: int) -> SimState:
    cells = [CRYSTALS[element][0]().repeat(repeat) for _ in range(n_systems)]
    for seed, atoms in enumerate(cells):
        atoms.positions += np.random.default_rng(seed).normal(0, 0.05, atoms.positions.shape)
    return atoms_to_state(cells)


def sides(element: str, state: SimState) -> dict[str, Callable[[], object]]:
    cutoff = CRYSTALS[element][1]
    silicon, argon = StillingerWeber(), LennardJones({"Ar": (0.0104, 3.405)}, cutoff)
    potential = silicon if element == "Si" else argon
    listed = neighbor_list(state, potential.cutoff, 1.0)
    types, half = torch.zeros_like(state.atomic_numbers), torch.arange(state.n_systems) % 2 == 0
    evaluate = potential.by_rows(state, listed, types)
    assert evaluate is not None
    return {
        "list": lambda: neighbor_list(state, cutoff, backend="native"),
        "list, vesin": lambda: neighbor_list(state, cutoff, backend="vesin"),
        "half of the systems anew": lambda: refreshed(listed, state, half),
        "pairs within the cutoff": lambda: listed.within(potential.cutoff, state.positions, state.cell),
        "energies, forces, virials": lambda: evaluate(state.positions, state.cell),
        "the same by torch": lambda: potential.compute(state, listed, types, create_graph=True),
    }


def table(results: dict[str, dict[str, Timing]], n_atoms: dict[str, int]) -> str:
    lines = ["| us/atom, median (quartiles) | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in next(iter(results.values())):
        lines.append(f"| {name} | " + " | ".join(of[name].per(n_atoms[case], 2) for case, of in results.items()) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results, n_atoms = {}, {}
    for case in arguments.cases:
        state = state_of(*CASES[case])
        results[case], n_atoms[case] = alternate(sides(CASES[case][0], state), arguments.rounds), state.n_atoms
    text = f"{machine()}; torch {torch.__version__}; {arguments.rounds} alternate rounds\n\n{table(results, n_atoms)}\n"
    print(text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.threads} threads\n\n{text}")


if __name__ == "__main__":
    main()
