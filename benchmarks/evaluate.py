"""Energy, forces and stress of silicon cells, us/atom: Shoal compiled, eager and in an ASE loop, beside NequIP.

Both sides have one architecture (2 layers, l_max 1, 32 features, parity, radial network 2 x 64, 8 Bessel functions,
cutoff 5 A, about 28 neighbours) and float32 cores; every call includes the neighbour lists. Run in the environment
that holds NequIP and torch-sim, with nothing else running:

    benchmarks/run.sh                     builds what is missing and runs this with 1 and 2 threads
    python benchmarks/evaluate.py --nequip FILE.nequip.pt2 --threads 2 [--rounds 9] [--out TABLE.md]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from _rounds import Timing, alternate, machine
from shoal.deploy import compile_model, package_potential
from shoal.files import ArchitectureSpec
from shoal.integrations.ase import ShoalCalculator
from shoal.io import atoms_to_state
from shoal.potentials import LearnedPotential

CASES = ("1x8", "8x8", "64x8", "1x64", "8x64", "64x64")
REPEATS = {8: (1, 1, 1), 64: (2, 2, 2)}
CONFIG = {
    "cutoff": 5.0,
    "type_names": ["Si"],
    "mean_neighbors": 28.0,
    "num_layers": 2,
    "l_max": 1,
    "parity": True,
    "num_features": 32,
    "radial_mlp_depth": 2,
    "radial_mlp_width": 64,
    "num_bessels": 8,
    "polynomial_cutoff_p": 6,
    "model_dtype": "float32",
}


def structures(case: str) -> list[Atoms]:
    """`SxN`: S rattled silicon cells of N atoms."""
    n_systems, n_atoms = map(int, case.split("x"))
    cells = []
    for seed in range(n_systems):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True) * REPEATS[n_atoms]
        atoms.positions += np.random.default_rng(seed).normal(0, 0.05, atoms.positions.shape)
        cells.append(atoms)
    return cells


def our_files(folder: Path) -> tuple[Path, Path]:
    """The same architecture, untrained, as package and compiled file."""
    potential = LearnedPotential(ArchitectureSpec(name="nequip", config=CONFIG), species_map={"Si": "Si"})
    state = atoms_to_state(structures("8x8"))
    package = package_potential(potential, folder / "si.shoal", state, torch.zeros(state.n_atoms, dtype=torch.int64))
    compiled = folder / "si.shoal.pt2"
    compile_model(package, compiled)
    return package, compiled


def shoal_sides(package: Path, compiled: Path, cells: list[Atoms]) -> dict[str, Callable[[], object]]:
    state = atoms_to_state(cells)
    fast, eager = shoal.load(compiled), shoal.load(package)
    loop = ShoalCalculator(compiled, skin=0.0)

    def ase_loop() -> None:
        for atoms in cells:
            loop.calculate(atoms, ["energy", "forces", "stress"])

    return {"Shoal compiled": lambda: fast(state), "Shoal eager": lambda: eager(state), "Shoal ASE loop": ase_loop}


def nequip_sides(file: str, cells: list[Atoms]) -> dict[str, Callable[[], object]]:
    """NequIP's compiled file in torch-sim, with torch-sim's default list and with vesin's."""
    import torch_sim
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    sides: dict[str, Callable[[], object]] = {}
    state = torch_sim.initialize_state(cells, torch.device("cpu"), torch.float64)
    for name, options in {"default list": {}, "vesin list": {"neighborlist_backend": "vesin"}}.items():
        model = NequIPTorchSimCalc.from_compiled_model(
            file, device="cpu", chemical_species_to_atom_type_map=True, **options
        )
        sides[f"NequIP in torch-sim, {name}"] = lambda model=model: model(state)
    return sides


def table(results: dict[str, dict[str, Timing]]) -> str:
    """Markdown: us/atom as median (quartiles) per case, then the ratios to Shoal compiled."""
    names = list(next(iter(results.values())))
    atoms = {case: int(np.prod([int(n) for n in case.split("x")])) for case in results}
    lines = ["| us/atom, median (quartiles) | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(results[c][name].per(atoms[c]) for c in results) + " |")
    for name in names[1:]:
        ratios = (results[c][name].median / results[c]["Shoal compiled"].median for c in results)
        lines.append(f"| {name} / Shoal compiled | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nequip", help="NequIP's compiled file (batch target) of the same architecture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    title = f"{machine()}; {arguments.threads} threads; torch {torch.__version__}; shoal {shoal.__version__}"
    with tempfile.TemporaryDirectory() as folder:
        package, compiled = our_files(Path(folder))
        results: dict[str, dict[str, Timing]] = {}
        for case in arguments.cases:
            cells = structures(case)
            sides = shoal_sides(package, compiled, cells)
            if arguments.nequip:
                sides |= nequip_sides(arguments.nequip, cells)
            torch.set_num_threads(arguments.threads)
            results[case] = alternate(sides, arguments.rounds)
            print(case, {name: timing.per(len(cells) * len(cells[0])) for name, timing in results[case].items()})
    text = f"{title}; {arguments.rounds} alternate rounds\n\n{table(results)}\n"
    print("\n" + text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.threads} threads\n\n{text}")


if __name__ == "__main__":
    main()
