"""The largest errors of explicit gradients, in one table.

python -m tests.potentials.gradients_table [--write benchmarks/results/gradients.md]
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tests.potentials.test_explicit_gradients import (
    KINDS,
    Gradients,
    asked,
    by_autograd,
    by_differences,
    dense,
    frames,
    picked,
    some_atoms,
)
from tests.potentials.test_potential_laws import CASES, Case

import shoal
from shoal.io import atoms_to_state

HEAD = """# Explicit gradients

float64 states, shoal {}, torch {}. In positions and in strain, the larger of both, as abs(a - b) / max(1, largest b);
the largest of these potentials: {}.

What is left to central differences is their own error. A selection: half the atoms, in another order, none of the
second system. Written by `python -m tests.potentials.gradients_table --write benchmarks/results/gradients.md`.

| per | atoms | structures | to central differences | to autograd |
|---|---|---|---|---|
"""


def difference(got: Gradients, want: Gradients) -> float:
    pairs = ((got.positions, want.positions), (got.strain, want.strain))
    return max(float(np.abs(a - b).max(initial=0) / max(1.0, np.abs(b).max(initial=0))) for a, b in pairs)


def table() -> str:
    """Per system and per atom, of all and of some, for every kind of structure: the largest of all potentials."""
    to_differences, to_autograd = {}, {}
    for name, made in CASES.items():
        potential = made.make()
        case = Case(lambda potential=potential: potential, made.crystal)  # type: ignore[misc]
        for geometry in KINDS:
            parts = frames(case, geometry)
            state, atomic = atoms_to_state(parts), by_differences(potential, parts)
            for kind, which in product(("system", "atom"), ("all", "selection")):
                selected = some_atoms(state) if which == "selection" else None
                got = dense(asked(potential, state, kind, selected), state)
                row = kind, which, geometry, name
                to_differences[row] = difference(got, picked(atomic, state, kind, selected))
                if potential.capabilities.quantities["energy"].differentiable:
                    to_autograd[row] = difference(got, by_autograd(potential, state, kind, selected))
    lines = [HEAD.format(shoal.__version__, torch.__version__, "; ".join(CASES))]
    for row in product(("system", "atom"), ("all", "selection"), KINDS):
        worst = (max(v for key, v in found.items() if key[:3] == row) for found in (to_differences, to_autograd))
        lines.append("| " + " | ".join([*row, *(f"{value:.1e}" for value in worst)]) + " |\n")
    return "".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    text = table()
    print(text)
    if arguments.write:
        arguments.write.write_text(text)
