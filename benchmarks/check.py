"""What `shoal check` says of models of every kind, and how long it takes.

A package (by default an untrained silicon NequIP of 2 layers, l_max 1, 16 features, float32 core), what `shoal compile`
makes of it in both modes, a committee with it, classical potentials, and ASE's EMT, which ends with a jump. Each is
held to every check, and to the fast set; compiling is not counted.

    OMP_NUM_THREADS=1 python benchmarks/check.py --out benchmarks/results/check.md
    python benchmarks/check.py --package demo-out/silicon.shoal
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk

import shoal
from _rounds import machine
from shoal.conformance import Finding, Report, Verdict
from shoal.deploy import compile_model, package_potential
from shoal.deploy.compile import MODES
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.potentials import Committee, LearnedPotential, LennardJones, StillingerWeber

ARGON = {"Ar": (0.0104, 3.4)}
NOT_JUDGED = (Verdict.PASS, Verdict.NOT_APPLICABLE)
Subjects = dict[str, Callable[[], tuple[Any, dict[str, Any]]]]


def silicon(seed: int) -> LearnedPotential:
    config = {
        "cutoff": 5.0,
        "type_names": ["Si"],
        "mean_neighbors": 28.0,
        "num_layers": 2,
        "l_max": 1,
        "num_features": 16,
        "radial_mlp_width": 32,
        "seed": seed,
    }
    potential = LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map={"Si": "Si"})
    potential.model.set_scales_shifts([1.3], [-4.0])  # type: ignore[operator]
    return potential


def packaged(out: Path) -> Path:
    """An untrained model as a package, with results of two rattled crystals."""
    frames = [bulk("Si", cubic=True) for _ in range(2)]
    for seed, atoms in enumerate(frames):
        atoms.positions += np.random.default_rng(seed).normal(0, 0.1, atoms.positions.shape)
    state = atoms_to_state(frames)
    return package_potential(silicon(0), out, state, torch.zeros(state.n_atoms, dtype=torch.int64))


def subjects(package: Path, folder: Path) -> Subjects:
    """Name -> what makes the model and the other arguments of `shoal.check`."""
    species = {"chemical_species_to_atom_type_map": True}

    def compiled(mode: str) -> tuple[Any, dict[str, Any]]:
        out = folder / f"model{MODES[mode].ending}"
        compile_model(package, out, mode=mode)
        return out, species

    def committee() -> tuple[Any, dict[str, Any]]:
        model = shoal.load(package, chemical_species_to_atom_type_map=True).potential
        assert isinstance(model, LearnedPotential)
        config = {**model.spec.config, "seed": 11}
        other = LearnedPotential(model.spec.model_copy(update={"config": config}), species_map=model.species_map)
        return Committee([model, other]), species

    return {
        "package": lambda: (package, species),
        "compiled, .shoal.pt2": lambda: compiled("aotinductor"),
        "compiled, .shoal.pth": lambda: compiled("torchscript"),
        "committee of 2": committee,
        "Lennard-Jones, switch": lambda: (LennardJones(ARGON, 8.5), {}),
        "Lennard-Jones, truncation none": lambda: (LennardJones(ARGON, 8.5, "none"), {}),
        "Stillinger-Weber": lambda: (StillingerWeber(), {}),
        "ase.calculators.emt:EMT": lambda: ("ase.calculators.emt:EMT", {"structures": [bulk("Cu")]}),
    }


def load(finding: Finding) -> float:
    """The measured value over what is allowed; 0 where nothing is measured against a tolerance."""
    return finding.value / finding.tolerance if finding.tolerance and finding.value is not None else 0.0


def row(name: str, full: Report, fast: Report) -> str:
    counts = Counter(finding.verdict for finding in full)
    numbers = [str(counts[verdict]) for verdict in ("pass", "fail", "declared", "note", "not applicable")]
    worst = max((finding for finding in full if finding.verdict is Verdict.PASS), key=load)
    others = [f"{f.number} {f.name}: {f.verdict}, {load(f):.2g}" for f in full if f.verdict not in NOT_JUDGED]
    cells = [name, *numbers, f"{full.seconds:.1f}", f"{fast.seconds:.1f}", f"{load(worst):.2g} ({worst.name})"]
    return "| " + " | ".join([*cells, "; ".join(others) or "-"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, help="a .shoal to judge in place of the untrained one; its type is Si")
    parser.add_argument("--only", nargs="*", help="subjects whose names begin so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    lines = [
        f"# benchmarks/check.py\n\n{machine()}; {arguments.threads} threads; torch {torch.__version__}, "
        f"shoal {shoal.__version__}. Worst: the largest measured value over what is allowed.\n",
        "| model | pass | fail | declared | note | n.a. | s | s, fast | worst that passes | what does not pass |",
        "|---" * 10 + "|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        package = arguments.package or packaged(Path(scratch) / "silicon.shoal")
        for name, make in subjects(package, Path(scratch)).items():
            if arguments.only and not name.startswith(tuple(arguments.only)):
                continue
            model, options = make()
            full, fast = (shoal.check(model, fast=fast, **options) for fast in (False, True))
            lines.append(row(name, full, fast))
            print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
