"""The 3BPA training set as both trainers read it: 450 + 50 frames by seed, and energies of the elements in a file.

    python benchmarks/3bpa/prepare.py DATA OUT --seed 0

DATA is the folder of the data set (train_300K.xyz, iso_atoms.xyz, derived_test_*.xyz; MIT, Kovacs et al., JCTC 2021,
10.1021/acs.jctc.1c00647). The molecule has one composition, so that its mean energy fixes only one number: every
element gets its isolated atom's energy plus an equal share of the mean energy of formation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from ase.io import read, write

N_VAL = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    frames = read(arguments.data / "train_300K.xyz", index=":")
    order = np.random.default_rng(arguments.seed).permutation(len(frames))
    train = [frames[k] for k in order[N_VAL:]]
    for name, part in {"train": train, "val": [frames[k] for k in order[:N_VAL]]}.items():
        write(arguments.out / f"{name}.xyz", part, format="extxyz")
    for temperature in ("300K", "600K", "1200K"):
        test = read(arguments.data / f"derived_test_{temperature}.xyz", index=":")
        write(arguments.out / f"test_{temperature}.xyz", test, format="extxyz")

    isolated = {atoms.get_chemical_symbols()[0]: atoms.get_potential_energy() for atoms in iterate(arguments.data)}
    formation = [
        (atoms.get_potential_energy() - sum(isolated[symbol] for symbol in atoms.get_chemical_symbols())) / len(atoms)
        for atoms in train
    ]
    shifts = {symbol: energy + float(np.mean(formation)) for symbol, energy in sorted(isolated.items())}
    (arguments.out / "shifts.json").write_text(json.dumps(shifts))


def iterate(data: Path) -> list:
    return read(data / "iso_atoms.xyz", index=":")


if __name__ == "__main__":
    main()
