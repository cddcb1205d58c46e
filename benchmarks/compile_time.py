"""Seconds of `shoal compile` with a native kernel, nothing kept of earlier ones.

    python benchmarks/compile_time.py MODEL.shoal ... --rounds 9 --out benchmarks/results/compile_time.md

All of the command: the start of Python, tables and the measurement of their error, the build for every instruction set
of this type of machine, and the checks of all that run here against the eager model. Nothing else may run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _rounds import machine


def seconds(model: Path) -> float:
    """Wall time of one command with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "shoal", "compile", model, Path(folder, "out.shoal.pt2"), "--kernel", "native"]
        start = time.perf_counter()
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SHOAL_CACHE_DIR": f"{folder}/cache"}
        )
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    arguments = parser.parse_args()
    times: dict[Path, list[float]] = {model: [] for model in arguments.models}
    for _ in range(arguments.rounds):
        for model, own in times.items():
            own.append(seconds(model))
    lines = [f"{machine()}; {arguments.rounds} alternate rounds", "", "| | s, median | range |", "|---|---|---|"]
    for model, own in times.items():
        lines.append(
            f"| {model.parent.name}/{model.name} | {statistics.median(own):.1f} | {min(own):.1f}-{max(own):.1f} |"
        )
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n{text}\n")


if __name__ == "__main__":
    main()
