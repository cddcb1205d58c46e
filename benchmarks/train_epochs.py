"""Seconds per epoch of training on 3BPA: Shoal beside nequip-train, each eager and compiled, alternately.

    python benchmarks/train_epochs.py FOLDER --threads 2 --rounds 5 --out benchmarks/results/train_epochs.md

FOLDER is a seed's folder of benchmarks/3bpa/run.sh (train.xyz, val.xyz, shifts.json); run in the environment that
holds NequIP and Lightning, nothing else running. One configuration for both (benchmarks/3bpa/shoal.yaml, nequip.yaml).
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    arguments = parser.parse_args()
    sides = {
        "Shoal, compiled": lambda scratch: shoal_command(arguments.folder, scratch, "true"),
        "nequip-train, eager": lambda scratch: nequip_command(scratch, "eager"),
        "nequip-train, compiled": lambda scratch: nequip_command(scratch, "compile"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    title = f"{machine()}; {arguments.threads} threads"
    for _ in range(arguments.rounds):
        for name, command in sides.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds[name].append(time_last_epoch(command(Path(scratch)), Path(scratch), arguments))
            print(name, f"{seconds[name][-1]:.2f} s", flush=True)
    best = min(statistics.median(seconds[name]) for name in sides if not name.startswith("Shoal"))
    lines = ["| | s/epoch, median | range | over NequIP's faster mode |", "|---|---|---|---|"]
    for name, values in seconds.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median:.2f} | {min(values):.2f}-{max(values):.2f} | {median / best:.2f} |")
    text = f"\n## {arguments.threads} threads\n\n{title}; {arguments.rounds} alternate rounds\n\n" + "\n".join(lines)
    print(text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(text + "\n")


def shoal_command(folder: Path, scratch: Path, compile_step: str) -> list[str]:
    shifts = (folder / "shifts.json").read_text()
    return [
        str(ROOT / ".venv" / "bin" / "shoal"),
        "train",
        str(CONFIGS / "shoal.yaml"),
        f"output={scratch / 'out'}",
        f"reference_energies={shifts}",
        f"training.max_epochs={WARM + 1}",
        "training.device=cpu",
        f"training.compile={compile_step}",
    ]


def nequip_command(scratch: Path, mode: str) -> list[str]:
    command = [str(ROOT / ".venv-peers" / "nequip" / "bin" / "nequip-train"), "-cp", str(CONFIGS), "-cn", "nequip"]
    return [*command, f"hydra.run.dir={scratch / 'out'}", "run=[train]", f"epochs={WARM + 1}", f"compile_mode={mode}"]


def time_last_epoch(command: list[str], scratch: Path, arguments: argparse.Namespace) -> float:
    """Seconds between the checkpoints of the last epoch and of the one before, watched from outside."""
    energies = json.loads((arguments.folder / "shifts.json").read_text())
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(arguments.threads),
        "SEED": "0",
        "FOLDER": str(arguments.folder.resolve()),
        **{f"E_{symbol}": str(energy) for symbol, energy in energies.items()},
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
