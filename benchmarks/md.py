"""Molecular dynamics, us per atom and step: Shoal beside torch-sim, ASE and LAMMPS.

Lennard-Jones argon (cutoff 2.5 sigma cut off, 40 K), or silicon by Stillinger-Weber (300 K), which of the peers only
LAMMPS has. float64, 1 fs, NVE and Langevin (0.01/fs); SxN is S systems of N atoms. Every engine is
a process in its own environment that goes on with its run when its turn comes, and times its own steps. What a step
includes: forces, motion and whatever keeps the neighbour list right (Shoal, LAMMPS and ASE renew a list with a skin
when they must, torch-sim finds neighbours anew at each step); not included: starting, and compiling. ASE runs one
system of a case; LAMMPS takes the systems one after the other, with OPENMP from two threads on. Run with nothing else
running:

    python benchmarks/md.py --threads 1 --out benchmarks/results/md.md
    python benchmarks/md.py --material silicon --threads 1
    python benchmarks/md.py --engines compiled lammps --cases 1x256 --ensembles NVE --rounds 3
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from _md_materials import MATERIALS
from _rounds import Timing, in_turn, machine, steps_within
from _workers import Worker

ENGINES = {
    "compiled": ("Shoal compiled", "shoal"),
    "eager": ("Shoal eager", "shoal"),
    "torch-sim": ("torch-sim, default list", "nequip"),
    "torch-sim-vesin": ("torch-sim, vesin list", "nequip"),
    "ase": ("ASE", "nequip"),
    "lammps": ("LAMMPS", "lammps"),
}
ENSEMBLES = ("NVE", "Langevin")
Shares = dict[str, float]


class Measurements:
    """Seconds per atom and step, temperatures and shares of time, by ensemble, case and engine."""

    def __init__(self) -> None:
        self.timings: dict[tuple[str, str, str], Timing] = {}
        self.temperatures: dict[tuple[str, str, str], float] = {}
        self.shares: dict[tuple[str, str, str], Shares] = {}
        self.force_difference = 0.0

    def take(self, ensemble: str, case: str, workers: dict[str, Worker], rounds: int, seconds: float) -> None:
        """Measure one case in one ensemble with every engine."""
        starts = {name: worker("start", case=case, ensemble=ensemble) for name, worker in workers.items()}
        forces = [np.array(start["forces"]) for start in starts.values()]
        self.force_difference = max(self.force_difference, *(float(np.abs(f - forces[0]).max()) for f in forces))
        n_steps = {}
        for name, worker in workers.items():
            n_steps[name] = steps_within(seconds, lambda n, worker=worker: worker("run", n_steps=n))
        sides = {
            name: partial(_seconds_per_atom_step, worker, n_steps[name], starts[name]["n_atoms"])
            for name, worker in workers.items()
        }
        for name, timing in in_turn(sides, rounds).items():
            self.timings[ensemble, case, name] = timing
            self.temperatures[ensemble, case, name] = workers[name]("temperature")
        for name in ("compiled", "eager"):
            if name in workers:
                self.shares[ensemble, case, name] = workers[name]("shares", n_steps=n_steps[name])
        print(
            f"{ensemble} {case}, us/atom/step (steps a visit): "
            + ", ".join(f"{n} {self.timings[ensemble, case, n].per(1)} ({n_steps[n]})" for n in workers),
            flush=True,
        )


def _seconds_per_atom_step(worker: Worker, n_steps: int, n_atoms: int) -> float:
    return worker("run", n_steps=n_steps) / (n_steps * n_atoms)


def speed_table(measured: Measurements, ensemble: str, cases: list[str], engines: list[str]) -> str:
    """Markdown: us/atom/step as median (quartiles) per case, and how the other engines compare to Shoal compiled."""
    lines = [f"| {ensemble}, us/atom/step, median (quartiles) | " + " | ".join(cases) + " |"]
    lines.append("|---" * (len(cases) + 1) + "|")
    of = measured.timings
    for name in engines:
        lines.append(f"| {ENGINES[name][0]} | " + " | ".join(of[ensemble, c, name].per(1) for c in cases) + " |")
    ratios = (
        ("torch-sim, its better list / Shoal compiled", ("torch-sim", "torch-sim-vesin"), False),
        ("ASE / Shoal compiled", ("ase",), False),
        ("Shoal compiled / LAMMPS", ("lammps",), True),
    )
    for label, names, ours_above in ratios:
        there = [name for name in names if name in engines]
        if there and "compiled" in engines:
            values = []
            for case in cases:
                ratio = min(of[ensemble, case, name].median for name in there) / of[ensemble, case, "compiled"].median
                values.append(f"{1 / ratio if ours_above else ratio:.2f}")
            lines.append(f"| {label} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def share_table(measured: Measurements, ensembles: list[str], cases: list[str], engines: list[str]) -> str:
    """Markdown: where Shoal's steps spend their time, from one more visit with a clock around the loop's parts.

    The steps that are taken again after a renewal count as steps. The noise is what a Langevin step takes longer than
    one of NVE, by the medians above.
    """
    lines = ["| share of Shoal's steps | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]

    def row(label: str, values: list[str]) -> None:
        lines.append(f"| {label} | " + " | ".join(values) + " |")

    for ensemble in ensembles:
        for name in (name for name in ("compiled", "eager") if name in engines):
            shares = [measured.shares[ensemble, case, name] for case in cases]
            which = f"{ensemble}, {ENGINES[name][0]}"
            row(f"{which}: renewing the list", [f"{s['list'] / s['total']:.1%}" for s in shares])
            if name == "compiled":
                row(f"{which}: model and motion, compiled together", [f"{s['step'] / s['total']:.1%}" for s in shares])
            else:
                row(f"{which}: model", [f"{s['model'] / s['total']:.1%}" for s in shares])
                row(f"{which}: motion and checks", [f"{(s['step'] - s['model']) / s['total']:.1%}" for s in shares])
            row(f"{which}: renewals in that visit", [f"{s['renewals']:.0f}" for s in shares])
            row(f"{which}: start of a call, ms", [f"{1e3 * s['start']:.0f}" for s in shares])
    if set(ENSEMBLES) <= set(ensembles):
        for name in (name for name in ("compiled", "eager") if name in engines):
            medians = [[measured.timings[e, case, name].median for e in ENSEMBLES] for case in cases]
            row(f"noise in a step of Langevin, {ENGINES[name][0]}", [f"{1 - nve / both:.1%}" for nve, both in medians])
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.7, help="of one visit; sets the number of steps")
    parser.add_argument("--material", default="argon", choices=MATERIALS)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="by default all that know the material")
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--ensembles", nargs="+", default=list(ENSEMBLES), choices=ENSEMBLES)
    parser.add_argument("--out", type=Path, help="append the tables to this Markdown file")
    arguments = parser.parse_args()
    material = MATERIALS[arguments.material]
    arguments.engines, arguments.cases = arguments.engines or material.engines, arguments.cases or material.cases
    begin = time.perf_counter()
    script = Path(__file__).with_name("_md_engines.py")
    workers = {
        name: Worker(
            ENGINES[name][1], script, name, str(arguments.threads), arguments.material, threads=arguments.threads
        )
        for name in arguments.engines
    }
    versions = {what: which for worker in workers.values() for what, which in worker("versions").items()}
    title = "; ".join(
        (
            machine(),
            f"{arguments.threads} threads",
            ", ".join(f"{what} {which}" for what, which in versions.items()),
            f"{arguments.rounds} alternate rounds",
        )
    )
    measured = Measurements()
    for ensemble in arguments.ensembles:
        for case in arguments.cases:
            measured.take(ensemble, case, workers, arguments.rounds, arguments.seconds)
    for worker in workers.values():
        worker.close()

    parts = [title]
    parts += [speed_table(measured, ensemble, arguments.cases, arguments.engines) for ensemble in arguments.ensembles]
    if measured.shares:
        parts.append(share_table(measured, arguments.ensembles, arguments.cases, arguments.engines))
    for ensemble in arguments.ensembles:
        reached = [value for (which, _, _), value in measured.temperatures.items() if which == ensemble]
        parts.append(f"Temperatures in the end, {ensemble}: {min(reached):.1f} to {max(reached):.1f} K.")
    parts.append(
        f"Largest difference of forces between the engines at the start: {measured.force_difference:.1e} eV/A."
    )
    text = "\n\n".join(parts) + "\n"
    print(f"\n{text}\n{time.perf_counter() - begin:.0f} s in all")
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.material}, {arguments.threads} threads\n\n{text}")


if __name__ == "__main__":
    main()
