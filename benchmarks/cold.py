"""What a user waits for: `import shoal` over `import torch`, and the time to the first energy of a compiled file.

usage: python benchmarks/cold.py COMPILED.shoal.pt2 [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

FIRST_ENERGY = """
import shoal
from ase.build import bulk
calculator = shoal.BatchCalculator.from_compiled_model(compile_path={path!r}, chemical_species_to_atom_type_map=True)
state = shoal.io.atoms_to_state([bulk("Si", "diamond", a=5.43, cubic=True)])
print(float(calculator(state)["energy"][0]))
"""


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compiled")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    codes = {
        "import torch": "import torch",
        "import torch, shoal": "import torch, shoal",
        "first energy": FIRST_ENERGY.format(path=arguments.compiled),
    }
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(arguments.rounds):
        for name, code in codes.items():
            times[name].append(seconds(code))
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:22s} {median:.2f} s ({low:.2f}-{high:.2f})")
    extra = statistics.median(times["import torch, shoal"]) - statistics.median(times["import torch"])
    print(f"import shoal over import torch: {extra:.3f} s")


if __name__ == "__main__":
    main()
