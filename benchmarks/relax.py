"""Relaxing many small crystals with their cells, structures/s: Shoal beside torch-sim and ASE.

FIRE in a Frechet cell filter until no force on an atom or on the cell is above 0.05 eV/A. Copper of 32 atoms with a
Lennard-Jones potential, silicon of 8 atoms with Stillinger-Weber, and with a NequIP model from one compiled file. Every
engine is a process in its own environment that relaxes everything anew when its turn comes, from ASE structures to its
own results; ASE takes a share of them. The first structures are relaxed once before, so that compiling is not included.
The structures that all end with are judged by the same potential. Run with nothing else running:

    python benchmarks/relax.py --threads 1 --out benchmarks/results/relax.md
    python benchmarks/relax.py --tasks SW --engines shoal torch-sim --n 100 --rounds 3
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from _rounds import Timing, in_turn, machine
from _workers import ROOT, Worker

ENGINES = {
    "shoal": ("Shoal", "shoal"),
    "torch-sim": ("torch-sim, in flight", "nequip"),
    "torch-sim-one-batch": ("torch-sim, one batch", "nequip"),
    "ase": ("ASE loop, ASE's, matscipy's or NequIP's calculator", "nequip"),
    "ase-shoal": ("ASE loop, ShoalCalculator", "nequip"),
}
TORCH_SIM, ASE = ("torch-sim", "torch-sim-one-batch"), ("ase", "ase-shoal")
TASKS = {"LJ": "Cu, Lennard-Jones", "SW": "Si, Stillinger-Weber", "learned": "Si, NequIP"}


class Measurements:
    """Seconds per structure, how the structures of each engine ended, and shares of time, by task and engine."""

    def __init__(self) -> None:
        self.timings: dict[tuple[str, str], Timing] = {}
        self.ends: dict[tuple[str, str], dict[str, float]] = {}
        self.shares: dict[str, dict[str, float]] = {}

    def take(self, task: str, workers: dict[str, Worker], counts: dict[str, int], rounds: int) -> None:
        """Measure one task with every engine."""
        sides = {}
        for name, worker in workers.items():
            worker("start", task=task, n=counts[name])
            sides[name] = partial(_seconds_per_structure, worker, counts[name])
        for name, timing in in_turn(sides, rounds).items():
            self.timings[task, name] = timing
        if "shoal" in workers:
            lasts = {name: worker("last") for name, worker in workers.items()}
            self._compare(task, lasts, workers["shoal"])
            self.shares[task] = workers["shoal"]("shares")
        rates = (f"{ENGINES[name][0]} {rate(self.timings[task, name])}" for name in workers)
        print(f"{TASKS[task]}, structures/s: " + ", ".join(rates), flush=True)

    def _compare(self, task: str, lasts: dict[str, list[dict[str, Any]]], judge: Worker) -> None:
        """What all engines ended with, by the same potential, and how far its energies are from Shoal's."""
        judged = {name: judge("judge", task=task, cells=last) for name, last in lasts.items()}
        reference = np.array(judged["shoal"]["energies"])
        shared = min(map(len, lasts.values()))
        for name, found in judged.items():
            energies = np.array(found["energies"])
            steps = [structure["n_steps"] for structure in lasts[name][:shared]]
            self.ends[task, name] = {
                "difference": float(np.abs(energies - reference[: len(energies)]).max()),
                "force": max(found["forces"]),
                "virial": max(found["virials"]),
                "steps": float("nan") if None in steps else float(np.mean(steps)),
            }


def _seconds_per_structure(worker: Worker, n: int) -> float:
    return worker("run") / n


def rate(timing: Timing) -> str:
    """Structures per second: median (quartiles)."""
    return f"{1 / timing.median:.2f} ({1 / timing.high:.2f}-{1 / timing.low:.2f})"


def speed_table(measured: Measurements, tasks: list[str], engines: list[str]) -> str:
    """Markdown: structures/s as median (quartiles) per task, and how much faster Shoal is."""
    lines = ["| structures/s, median (quartiles) | " + " | ".join(TASKS[task] for task in tasks) + " |"]
    lines.append("|---" * (len(tasks) + 1) + "|")
    of = measured.timings
    for name in engines:
        lines.append(f"| {ENGINES[name][0]} | " + " | ".join(rate(of[task, name]) for task in tasks) + " |")
    for label, names in (("torch-sim, its better mode", TORCH_SIM), ("the faster ASE loop", ASE)):
        there = [name for name in names if name in engines]
        if there and "shoal" in engines:
            ratios = (min(of[task, name].median for name in there) / of[task, "shoal"].median for task in tasks)
            lines.append(f"| Shoal / {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    return "\n".join(lines)


def end_table(measured: Measurements, tasks: list[str], engines: list[str]) -> str:
    """Markdown: the relaxed structures; force and virial per atom are what the criterion looks at, row by row."""
    lines = [
        "| largest of: energy to Shoal's, eV/atom; force, eV/A; virial, eV/atom; mean steps of those ASE has | "
        + " | ".join(TASKS[task] for task in tasks)
        + " |",
        "|---" * (len(tasks) + 1) + "|",
    ]
    for name in engines:
        cells = []
        for task in tasks:
            end = measured.ends[task, name]
            steps = "" if np.isnan(end["steps"]) else f"; {end['steps']:.1f}"
            cells.append(f"{end['difference']:.1e}; {end['force']:.3f}; {end['virial']:.3f}{steps}")
        lines.append(f"| {ENGINES[name][0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share_table(measured: Measurements, tasks: list[str]) -> str:
    """Markdown: where Shoal's time goes, from one more relaxation with a clock around the loop's parts."""
    lines = ["| share of Shoal's time | " + " | ".join(TASKS[task] for task in tasks) + " |"]
    lines.append("|---" * (len(tasks) + 1) + "|")
    shares = [measured.shares[task] for task in tasks]

    def row(label: str, values: list[str]) -> None:
        lines.append(f"| {label} | " + " | ".join(values) + " |")

    row("steps", [f"{s['step'] / s['total']:.1%}" for s in shares])
    row(
        "of which the model",
        ["compiled together" if not s["model"] else f"{s['model'] / s['step']:.1%}" for s in shares],
    )
    row("renewing lists in steps", [f"{s['list'] / s['total']:.1%}" for s in shares])
    rest = [1 - (s["step"] + s["list"]) / s["total"] for s in shares]
    row("reading in, first lists and evaluations, refilling, results", [f"{value:.1%}" for value in rest])
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--n", type=int, default=500, help="structures")
    parser.add_argument("--n-ase", type=int, default=20, help="of them, those that ASE relaxes")
    parser.add_argument("--resident", type=int, default=800, help="atoms in torch-sim's batch in flight")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--nequip", type=Path, default=ROOT / ".venv-peers" / "artefacts" / "si.nequip.pt2")
    parser.add_argument("--out", type=Path, help="append the tables to this Markdown file")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    script = Path(__file__).with_name("_relax_engines.py")
    own = (str(arguments.nequip.resolve()), str(arguments.resident))
    workers = {
        name: Worker(ENGINES[name][1], script, name, *own, threads=arguments.threads) for name in arguments.engines
    }
    counts = {name: min(arguments.n, arguments.n_ase) if name in ASE else arguments.n for name in workers}
    versions = {what: which for worker in workers.values() for what, which in worker("versions").items()}
    title = "; ".join(
        (
            machine(),
            f"{arguments.threads} threads",
            ", ".join(f"{what} {which}" for what, which in versions.items()),
            f"{arguments.n} structures (ASE: {min(arguments.n, arguments.n_ase)})",
            f"{arguments.rounds} alternate rounds",
        )
    )
    measured = Measurements()
    for task in arguments.tasks:
        measured.take(task, workers, counts, arguments.rounds)
    for worker in workers.values():
        worker.close()

    parts = [title, speed_table(measured, arguments.tasks, arguments.engines)]
    if "shoal" in workers:
        parts.append(end_table(measured, arguments.tasks, arguments.engines))
        parts.append(share_table(measured, arguments.tasks))
    text = "\n\n".join(parts) + "\n"
    print(f"\n{text}\n{time.perf_counter() - begin:.0f} s in all")
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.threads} threads\n\n{text}")


if __name__ == "__main__":
    main()
