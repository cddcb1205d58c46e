"""Seconds per epoch of training: Shoal beside nequip-train, each eager and compiled, alternately.

    python benchmarks/train_epochs.py FOLDER --threads 2 --rounds 5 --out benchmarks/results/train_epochs.md

FOLDER holds train.xyz, val.xyz and shifts.json (eV of each type): a seed's folder of benchmarks/3bpa/run.sh, or made
from a file of silicon (make_silicon_sw.py) with --split FILE.xyz. Run in the environment that holds Lightning, nothing
else running; NequIP is in .venv-peers. One configuration for both (benchmarks/3bpa/shoal.yaml, nequip.yaml).
A round trains every side for WARM + 1 epochs in a process of its own; the time is that of the last, from the end of
the one before, validation included: what starts and compiles is left out on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from _rounds import machine

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "benchmarks" / "3bpa"
WARM = 2
"""Epochs before the one that is timed; the compiled mode compiles in the first."""

SHOAL = {
    "eager": ["compile=false", "convolution=reference"],
    "eager, native": ["compile=false", "convolution=native"],
    "eager, native, table": ["compile=false", "convolution=native", "radial_table=256"],
    "compiled": ["compile=true", "convolution=reference"],
    "compiled, native": ["compile=true", "convolution=native"],
    "compiled, native, table": ["compile=true", "convolution=native", "radial_table=256"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    parser.add_argument("--title", default="", help="what the data are, for the table")
    parser.add_argument("--split", type=Path, help="make the folder from this file of one element, a tenth for val")
    parser.add_argument("--sides", nargs="*", help="only these of the table's rows")
    arguments = parser.parse_args()
    if arguments.split:
        split(arguments.split, arguments.folder)
    sides = {
        **{
            f"Shoal, {name}": lambda scratch, given=given: shoal_command(arguments.folder, scratch, given)
            for name, given in SHOAL.items()
        },
        "nequip-train, eager": lambda scratch: nequip_command(scratch, "eager"),
        "nequip-train, compiled": lambda scratch: nequip_command(scratch, "compile"),
    }
    sides = {name: command for name, command in sides.items() if not arguments.sides or name in arguments.sides}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    title = f"{machine()}; {arguments.threads} threads"
    for _ in range(arguments.rounds):
        for name, command in sides.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds[name].append(time_last_epoch(command(Path(scratch)), Path(scratch), arguments))
            print(name, f"{seconds[name][-1]:.2f} s", flush=True)
    peers = [name for name in sides if not name.startswith("Shoal")] or list(sides)
    best = min(statistics.median(seconds[name]) for name in peers)
    lines = ["| | s/epoch, median | range | over NequIP's faster mode |", "|---|---|---|---|"]
    for name, values in seconds.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median:.2f} | {min(values):.2f}-{max(values):.2f} | {median / best:.2f} |")
    heading = ", ".join(filter(None, (arguments.title, f"{arguments.threads} threads")))
    text = f"\n## {heading}\n\n{title}; {arguments.rounds} alternate rounds\n\n" + "\n".join(lines)
    print(text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(text + "\n")


def shoal_command(folder: Path, scratch: Path, training: list[str]) -> list[str]:
    shifts = (folder / "shifts.json").read_text()
    types = list(json.loads(shifts))
    return [
        str(ROOT / ".venv" / "bin" / "shoal"),
        "train",
        str(CONFIGS / "shoal.yaml"),
        f"output={scratch / 'out'}",
        f"type_names={json.dumps(types)}",
        f"chemical_species_to_atom_type_map={json.dumps({name: name for name in types})}",
        f"reference_energies={shifts}",
        f"training.max_epochs={WARM + 1}",
        "training.device=cpu",
        *(f"training.{setting}" for setting in training),
    ]


def nequip_command(scratch: Path, mode: str) -> list[str]:
    command = [str(ROOT / ".venv-peers" / "nequip" / "bin" / "nequip-train"), "-cp", str(CONFIGS), "-cn", "nequip"]
    return [*command, f"hydra.run.dir={scratch / 'out'}", "run=[train]", f"epochs={WARM + 1}", f"compile_mode={mode}"]


def split(file: Path, folder: Path) -> None:
    """Train and val from every ten frames; the type's energy is the mean per atom."""
    from ase.io import read, write

    frames = read(file, index=":")
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.xyz", [atoms for k, atoms in enumerate(frames) if k % 10])
    write(folder / "val.xyz", frames[::10])
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in frames]
    (folder / "shifts.json").write_text(json.dumps({frames[0].symbols[0]: statistics.mean(energies)}))


def time_last_epoch(command: list[str], scratch: Path, arguments: argparse.Namespace) -> float:
    """Seconds between the checkpoints of the last epoch and of the one before, watched from outside."""
    energies = json.loads((arguments.folder / "shifts.json").read_text())
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(arguments.threads),
        "SEED": "0",
        "FOLDER": str(arguments.folder.resolve()),
        "TYPES": f"[{', '.join(energies)}]",
        "SHIFTS": json.dumps(energies).replace('"', ""),
    }
    last = scratch / "out" / "last.ckpt"
    stamps: list[int] = []
    with open(scratch / "log", "w") as log:
        running = subprocess.Popen(command, cwd=arguments.folder, env=environment, stdout=log, stderr=log)
        while running.poll() is None:
            if last.exists() and (stamp := last.stat().st_mtime_ns) not in stamps:
                stamps.append(stamp)
            time.sleep(0.02)
    if running.returncode != 0 or len(stamps) != WARM + 1:
        raise RuntimeError(f"{command[0]} wrote {len(stamps)} checkpoints:\n{(scratch / 'log').read_text()[-2000:]}")
    return (stamps[WARM] - stamps[WARM - 1]) / 1e9


if __name__ == "__main__":
    main()
