"""The native kernel beside NequIP's compiled file: energy, forces and stress of silicon cells, and MD with them.

One set of trained weights: NequIP's file called with a ready neighbour list, the same file in its torch-sim calculator,
and Shoal's native kernel, with a ready list and with its own. Each call of a side gives energy, forces and stress of
all systems. MD is NVE at 300 K, lists included: `shoal.simulate` beside torch-sim's NVE with NequIP's file. Run in the
environment that holds NequIP and torch-sim, with nothing else running:

    make bench-kernels
    python benchmarks/kernels.py --nequip FILE.nequip.pt2 --compiled FILE.shoal.pt2 --threads 2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

import shoal
from _rounds import Timing, alternate, in_turn, machine, steps_within
from evaluate import REPEATS, peak_of, structures, versions
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import CompiledNequIP, CompiledPotential

CASES = ("1x8", "8x8", "64x8", "8x64", "64x64")
MD_CASES = ("64x64", "1x4096")
FILE, CALCULATOR = "NequIP's file, ready list", "NequIP in torch-sim"
KERNEL, OURS = "Shoal's kernel, ready list", "Shoal, own list"
TEMPERATURE = 300.0  # K
REPEATS |= {512: (4, 4, 4), 4096: (8, 8, 8)}


def nequip_ready(file: Path, cells: list[Atoms]) -> Callable[[], torch.Tensor]:
    """The code of NequIP's file, with its inputs made before; it returns the forces."""
    potential = CompiledNequIP(file)
    state = atoms_to_state(cells)
    neighbors = neighbor_list(state, potential.cutoff)
    caught: list[Any] = []
    code = potential._run

    def catch(inputs: Any) -> Any:
        caught.append(inputs)
        return code(inputs)

    potential._run = catch
    potential(state, neighbors, atom_types=potential.type_map(True)(state))
    return lambda: code(caught[0])[2]


def shoal_ready(file: Path, cells: list[Atoms]) -> Callable[[], torch.Tensor]:
    """The public call of the kernel's potential with a ready list."""
    potential = CompiledPotential(file)
    state = atoms_to_state(cells)
    neighbors, types = neighbor_list(state, potential.cutoff), potential.type_map(True)(state)
    return lambda: potential(state, neighbors, ("energy", "forces", "stress"), atom_types=types)["forces"]


def torch_sim_model(file: Path) -> Any:
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    return NequIPTorchSimCalc.from_compiled_model(str(file), device="cpu", chemical_species_to_atom_type_map=True)


def sides(arguments: argparse.Namespace, cells: list[Atoms]) -> dict[str, Callable[[], torch.Tensor]]:
    import torch_sim

    state = atoms_to_state(cells)
    theirs = torch_sim.initialize_state(cells, torch.device("cpu"), torch.float64)
    calculator = shoal.load(arguments.compiled, chemical_species_to_atom_type_map=True)
    model = torch_sim_model(arguments.nequip)
    return {
        FILE: nequip_ready(arguments.nequip, cells),
        KERNEL: shoal_ready(arguments.compiled, cells),
        CALCULATOR: lambda: model(theirs)["forces"],
        OURS: lambda: calculator(state)["forces"],
    }


def md_sides(arguments: argparse.Namespace, cells: list[Atoms]) -> dict[str, Callable[[int], float]]:
    """Seconds of so many steps, without the start of a call."""
    import time

    import torch_sim as ts

    from shoal.dynamics import NVE

    metal = ts.units.MetalUnits
    model = torch_sim_model(arguments.nequip)
    step = torch.tensor(1e-3 * metal.time, dtype=torch.float64)
    initial = ts.initialize_state(cells, torch.device("cpu"), torch.float64)
    initial.rng = 0
    moving = [ts.nve_init(initial, model, kT=torch.tensor(TEMPERATURE * metal.temperature, dtype=torch.float64))]
    calculator = shoal.load(arguments.compiled, chemical_species_to_atom_type_map=True)

    def theirs(n_steps: int) -> float:
        start = time.perf_counter()
        for _ in range(n_steps):
            moving[0] = ts.nve_step(moving[0], model, dt=step)
        return time.perf_counter() - start

    def run(structures: Any, n_steps: int, **options: Any) -> Any:
        options = {"compile": True, "max_atoms": 10**6, "progress": False, **options}
        return shoal.simulate(structures, calculator, NVE(), 1.0, n_steps, **options)

    own = [run(cells, 3, temperature=TEMPERATURE, seed=0)]

    def ours(n_steps: int) -> float:
        stamps: list[float] = []
        own[0] = run(own[0].state, n_steps, on_step=lambda _: stamps.append(time.perf_counter()), every=n_steps)
        return stamps[-1] - stamps[0]

    return {CALCULATOR: theirs, OURS: ours}


def lines(title: str, results: dict[str, dict[str, Timing]], pairs: list[tuple[str, str]]) -> str:
    """us per atom (and step), median (quartiles), and the ratios of the medians."""
    names = list(next(iter(results.values())))
    atoms = {case: int(case.split("x")[0]) * int(case.split("x")[1]) for case in results}
    rows = [f"| {title} | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = (
            f"{t.median * 1e6 / n:.2f} ({t.low * 1e6 / n:.2f}-{t.high * 1e6 / n:.2f})"
            for t, n in ((results[case][name], atoms[case]) for case in results)
        )
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    for theirs, ours in pairs:
        ratios = (f"**{results[case][theirs].median / results[case][ours].median:.1f}**" for case in results)
        rows.append(f"| {theirs} / {ours} | " + " | ".join(ratios) + " |")
    return "\n".join(rows)


def memory(arguments: argparse.Namespace, case: str) -> str:
    """kB per atom by which the resident size of a process of its own grows in three calls."""
    peaks = {}
    n_atoms = int(case.split("x")[0]) * int(case.split("x")[1])
    for name in (FILE, KERNEL):
        command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name, "--cases", case]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = float(done.stdout.split()[-1]) * 1024 / n_atoms
    told = ", ".join(f"{name} {peak:.1f} kB" for name, peak in peaks.items())
    return f"Memory per atom of {case}: {told}; 1/{peaks[FILE] / peaks[KERNEL]:.0f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nequip", type=Path, required=True, help="NequIP's compiled file (batch target)")
    parser.add_argument("--compiled", type=Path, required=True, help="the same model, imported and compiled")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--md", nargs="*", default=MD_CASES, help="cases of MD; none: leave it out")
    parser.add_argument("--seconds", type=float, default=0.3, help="of MD in each turn, at the least one step")
    parser.add_argument("--title", default="", help="what the model is, for the table")
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.peak_of:
        make = {FILE: (nequip_ready, arguments.nequip), KERNEL: (shoal_ready, arguments.compiled)}
        ready, file = make[arguments.peak_of]
        print(peak_of(ready(file, structures(arguments.cases[0]))))
        return
    results: dict[str, dict[str, Timing]] = {}
    worst = 0.0
    for case in arguments.cases:
        calls = sides(arguments, structures(case))
        torch.set_num_threads(arguments.threads)
        forces = [call() for call in calls.values()]
        worst = max(worst, *(float((values - forces[0]).abs().max()) for values in forces[1:]))
        results[case] = alternate(calls, arguments.rounds)
        print(case, {name: f"{t.median * 1e6 / len(forces[0]):.2f}" for name, t in results[case].items()}, flush=True)
    text = (
        f"## {arguments.title}, {arguments.threads} threads\n\n{machine()}; {versions()}; {arguments.rounds} alternate "
    )
    text += f"rounds\n\n{lines('us/atom', results, [(FILE, KERNEL), (CALCULATOR, OURS)])}\n"
    text += f"\nLargest difference of forces between the sides: {worst:.1e} eV/A.\n"
    moving: dict[str, dict[str, Timing]] = {}
    for case in arguments.md:
        steps = md_sides(arguments, structures(case))
        torch.set_num_threads(arguments.threads)
        counts = {name: steps_within(arguments.seconds, run) for name, run in steps.items()}
        turns = {name: (lambda run=run, n=counts[name]: run(n) / n) for name, run in steps.items()}
        moving[case] = in_turn(turns, arguments.rounds)
    if moving:
        text += f"\n{lines('MD, us/atom/step', moving, [(CALCULATOR, OURS)])}\n"
    text += f"\n{memory(arguments, arguments.cases[-1])}\n"
    print("\n" + text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    main()
