"""RMSE on the three derived tests of 3BPA, both sides, three seeds, beside published errors.

    python benchmarks/3bpa/table.py FOLDER --out benchmarks/results/3bpa.md

FOLDER is where run.sh trained; run in the environment that holds NequIP. NequIP's errors are those of its own test
run; its checkpoints are imported and evaluated here too, which must give the same.
"""

from __future__ import annotations

import argparse
import csv
import platform
from pathlib import Path

import numpy as np
import torch
from ase.io import read

import shoal

TESTS = ("300K", "600K", "1200K")
SEEDS = (0, 1, 2)
PUBLISHED = {
    "NequIP L3": (3.3, 10.8, 11.2, 26.4, 38.5, 76.2),
    "Allegro L3": (3.84, 12.98, 12.07, 29.17, 42.57, 82.96),
    "MACE L2": (3.0, 8.8, 9.7, 21.8, 29.8, 62.0),
    "ACE": (7.1, 27.1, 24.0, 64.3, 85.3, 187.0),
}


def errors(package: Path, folder: Path) -> list[float]:
    """RMSE of energy (meV per molecule) and forces (meV/A) on each test."""
    calculator = shoal.load(package)
    row = []
    for test in TESTS:
        frames = read(folder / f"test_{test}.xyz", index=":")
        results = calculator(shoal.io.atoms_to_state(frames))
        energy = results["energy"].numpy() - [frame.get_potential_energy() for frame in frames]
        forces = results["forces"].numpy() - np.concatenate([frame.get_forces() for frame in frames])
        row += [1e3 * float(np.sqrt((values**2).mean())) for values in (energy, forces)]
    return row


def shoal_row(folder: Path) -> list[float]:
    return errors(shoal.package(folder / "shoal" / "best.ckpt", folder / "shoal.shoal"), folder)


def nequip_row(folder: Path) -> list[float]:
    with open(folder / "nequip" / "logs" / "metrics.csv") as file:
        last = [line for line in csv.DictReader(file) if line["test0_epoch/forces_rmse"]][-1]
    names = (f"test{n}_epoch/{name}" for n in range(3) for name in ("total_energy_rmse", "forces_rmse"))
    return [1e3 * float(last[name]) for name in names]


def imported_row(folder: Path) -> list[float]:
    package = folder / "nequip.shoal"
    if not package.exists():
        shoal.import_nequip(folder / "nequip" / "best.ckpt", package, trust=True)
    return errors(package, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    import nequip

    sides = {"Shoal": shoal_row, "NequIP": nequip_row, "NequIP, imported": imported_row}
    rows = {side: np.array([row(arguments.folder / f"seed{seed}") for seed in SEEDS]) for side, row in sides.items()}
    heads = [f"{test} {quantity}" for test in TESTS for quantity in ("E", "F")]
    lines = ["| RMSE, E meV, F meV/A | " + " | ".join(heads) + " |", "|---" * 7 + "|"]
    for side, values in rows.items():
        for seed, row in zip(SEEDS, values, strict=True):
            lines.append(f"| {side}, seed {seed} | " + " | ".join(f"{x:.1f}" for x in row) + " |")
    for side in ("Shoal", "NequIP"):
        mean, spread = rows[side].mean(0), rows[side].std(0, ddof=1)
        cells = (f"**{m:.1f}** ({s:.1f})" for m, s in zip(mean, spread, strict=True))
        lines.append(f"| {side}, mean (standard deviation) | " + " | ".join(cells) + " |")
    for name, values in PUBLISHED.items():
        lines.append(f"| {name}, published | " + " | ".join(f"{x:.1f}" for x in values) + " |")
    text = f"""# benchmarks/3bpa

Both sides: NequIP with 2 layers, l_max 1, 32 features of both parities, radial network 2 x 64, cutoff 5 A, float32
core; 450 + 50 frames of train_300K by seed, batches of 5, Adam 0.01 with a cosine over 60 epochs, averaged weights
0.99, squared errors of energy per atom and forces weighted 1:1; one thread, a few minutes a run. The tests are those
derived from train_mixedT (136, 167 and 166 frames). Published errors are of far larger models, trained for hours to
days on a GPU, on the original tests: they stand here for scale.
Python {platform.python_version()}, torch {torch.__version__}, shoal {shoal.__version__}, nequip {nequip.__version__}.

""" + "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
