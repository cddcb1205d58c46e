"""Energy, forces and stress of silicon cells, us/atom, with one set of weights: Shoal beside NequIP.

A silicon model that nequip-train made (2 layers, l_max 1, 32 features, parity, radial network 2 x 64, 8 Bessel
functions, cutoff 5 A, about 28 neighbours, float32 core), four times: NequIP's compiled file in its torch-sim
calculator; the same file in Shoal; Shoal's own compiled file and package of the imported weights. Every call includes
the neighbour lists. The number of threads of NequIP's file is fixed when it is compiled (OMP_NUM_THREADS): give the
faster one. Run in the environment that holds NequIP and torch-sim, with nothing else running:

    benchmarks/run.sh                     builds what is missing and runs this with 1 and 2 threads
    python benchmarks/evaluate.py --nequip FILE.nequip.pt2 --package FILE.shoal --compiled FILE.shoal.pt2 --threads 2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from _rounds import Timing, alternate, machine
from shoal.integrations.ase import ShoalCalculator
from shoal.io import atoms_to_state

CASES = ("1x8", "8x8", "64x8", "1x64", "8x64", "64x64")
OURS, SAME_FILE = "Shoal compiled", "Shoal, NequIP's file"
THEIRS = ("NequIP in torch-sim, default list", "NequIP in torch-sim, vesin list")
REPEATS = {8: (1, 1, 1), 64: (2, 2, 2)}


def structures(case: str) -> list[Atoms]:
    """`SxN`: S rattled silicon cells of N atoms."""
    n_systems, n_atoms = map(int, case.split("x"))
    cells = []
    for seed in range(n_systems):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True) * REPEATS[n_atoms]
        atoms.positions += np.random.default_rng(seed).normal(0, 0.05, atoms.positions.shape)
        cells.append(atoms)
    return cells


def shoal_sides(arguments: argparse.Namespace, cells: list[Atoms]) -> dict[str, Callable[[], object]]:
    state = atoms_to_state(cells)
    loop = ShoalCalculator(arguments.compiled, skin=0.0)

    def ase_loop() -> None:
        for atoms in cells:
            loop.calculate(atoms, ["energy", "forces", "stress"])

    sides: dict[str, Callable[[], object]] = {}
    for name, path in ((OURS, arguments.compiled), (SAME_FILE, arguments.nequip), ("Shoal eager", arguments.package)):
        calculator = shoal.load(path, chemical_species_to_atom_type_map=True)
        sides[name] = lambda calculator=calculator: calculator(state)
    return {**sides, "Shoal compiled, ASE loop": ase_loop}


def nequip_sides(file: Path, cells: list[Atoms]) -> dict[str, Callable[[], object]]:
    """NequIP's compiled file in torch-sim, with torch-sim's default list and with vesin's."""
    import torch_sim
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    sides: dict[str, Callable[[], object]] = {}
    state = torch_sim.initialize_state(cells, torch.device("cpu"), torch.float64)
    for name, options in zip(THEIRS, ({}, {"neighborlist_backend": "vesin"}), strict=True):
        model = NequIPTorchSimCalc.from_compiled_model(
            str(file), device="cpu", chemical_species_to_atom_type_map=True, **options
        )
        sides[name] = lambda model=model: model(state)
    return sides


def check(sides: dict[str, Callable[[], object]]) -> float:
    """Largest difference of forces between the sides, eV/A: they compute the same thing."""
    forces = [side()["forces"] for name, side in sides.items() if "loop" not in name]
    return max(float((values - forces[0]).abs().max()) for values in forces[1:])


def table(results: dict[str, dict[str, Timing]]) -> str:
    """Markdown: us/atom as median (quartiles) per case, then each of ours over the better of NequIP's."""
    names = list(next(iter(results.values())))
    atoms = {case: int(np.prod([int(n) for n in case.split("x")])) for case in results}
    lines = ["| us/atom, median (quartiles) | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(results[c][name].per(atoms[c]) for c in results) + " |")
    for name in (OURS, SAME_FILE):
        for label, theirs in (("default list", THEIRS[:1]), ("its better list", THEIRS)):
            ratios = (
                results[c][name].median / min(results[c][other].median for other in theirs if other in results[c])
                for c in results
            )
            lines.append(f"| {name} / NequIP, {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    return "\n".join(lines)


def peak_memory(arguments: argparse.Namespace, case: str) -> dict[str, float]:
    """MB by which the resident size of a process of its own rises above that before its first call, by side."""
    peaks = {}
    for name in (OURS, SAME_FILE, *THEIRS):
        command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name, "--cases", case]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = float(done.stdout.split()[-1])
    return peaks


def peak_of(side: Callable[[], object]) -> float:
    """MB of three calls, beyond what was resident before."""
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(3):
        side()
    return (_resident("VmHWM") - before) / 1024


def _resident(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nequip", type=Path, required=True, help="NequIP's compiled file (batch target)")
    parser.add_argument("--package", type=Path, required=True, help="the same model, imported")
    parser.add_argument("--compiled", type=Path, required=True, help="that package, compiled")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    title = f"{machine()}; {arguments.threads} threads; {versions()}"
    results: dict[str, dict[str, Timing]] = {}
    differences = []
    for case in arguments.cases:
        cells = structures(case)
        sides = shoal_sides(arguments, cells) | nequip_sides(arguments.nequip, cells)
        torch.set_num_threads(arguments.threads)
        if arguments.peak_of:
            print(peak_of(sides[arguments.peak_of]))
            return
        differences.append(check(sides))
        results[case] = alternate(sides, arguments.rounds)
        print(case, {name: timing.per(len(cells) * len(cells[0])) for name, timing in results[case].items()})
    text = f"{title}; {arguments.rounds} alternate rounds\n\n{table(results)}\n"
    text += f"\nLargest difference of forces between the sides: {max(differences):.1e} eV/A.\n"
    largest = arguments.cases[-1]
    peaks = ", ".join(f"{name} {peak:.0f} MB" for name, peak in peak_memory(arguments, largest).items())
    text += f"Peak memory of {largest} beyond the loaded program: {peaks}.\n"
    print("\n" + text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.threads} threads\n\n{text}")


def versions() -> str:
    import nequip
    import torch_sim

    return (
        f"torch {torch.__version__}, shoal {shoal.__version__}, nequip {nequip.__version__}, "
        f"torch-sim {torch_sim.__version__}"
    )


if __name__ == "__main__":
    main()
