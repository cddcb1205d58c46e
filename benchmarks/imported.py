"""One trained NequIP model through every door: imported, compiled here, read as it is, and in NequIP's calculators.

Largest differences of energy per atom, forces and stress to NequIP's own uncompiled model, on the frames of its data.
Run in the environment that holds NequIP and torch-sim:

    python benchmarks/imported.py --artefacts FOLDER --out benchmarks/results/imported.md

FOLDER is what peers/make_nequip_artefacts.sh makes: train/best.ckpt, si.nequip.zip, si.nequip.pt2, si_ase.nequip.pt2,
si_sw.xyz; packages and compiled files of Shoal are made there if they are missing.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

import shoal

Results = tuple[np.ndarray, np.ndarray, np.ndarray]
SPECIES = {"Si": "Si"}


def shoal_results(path: Path, frames: Sequence[Atoms]) -> Results:
    """Energies per atom (S,), forces (N, 3), stresses (S, 3, 3), all frames in one batch."""
    state = shoal.io.atoms_to_state(frames)
    results = shoal.load(path, chemical_species_to_atom_type_map=SPECIES)(state)
    return (
        (results["energy"] / state.n_atoms_per_system).numpy(),
        results["forces"].numpy(),
        results["stress"].numpy(),
    )


def ase_results(calculator: Calculator, frames: Sequence[Atoms]) -> Results:
    energies, forces, stresses = [], [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress(voigt=False))
    return np.array(energies), np.concatenate(forces), np.stack(stresses)


def torch_sim_results(path: Path, frames: Sequence[Atoms]) -> Results:
    import torch_sim
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    model = NequIPTorchSimCalc.from_compiled_model(str(path), device="cpu", chemical_species_to_atom_type_map=SPECIES)
    results = model(torch_sim.initialize_state(list(frames), torch.device("cpu"), torch.float64))
    sizes = np.array([len(frame) for frame in frames])
    return (
        results["energy"].detach().numpy() / sizes,
        results["forces"].detach().numpy(),
        results["stress"].detach().numpy(),
    )


def imported(model: Path, package: Path) -> Path:
    if not package.exists():
        shoal.import_nequip(model, package, trust=True)
    return package


def compiled(package: Path, out: Path) -> Path:
    if not out.exists():
        shoal.compile_model(package, out, mode="aotinductor" if out.suffix == ".pt2" else "torchscript")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artefacts", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    folder = arguments.artefacts
    import nequip
    import torch_sim
    from nequip.integrations.ase import NequIPCalculator

    frames = read(folder / "si_sw.xyz", index=":")
    checkpoint, package = folder / "train" / "best.ckpt", imported(folder / "train" / "best.ckpt", folder / "si.shoal")
    from_zip = imported(folder / "si.nequip.zip", folder / "si_zip.shoal")
    reference = NequIPCalculator._from_saved_model(str(checkpoint), chemical_species_to_atom_type_map=SPECIES)
    expected = ase_results(reference, frames)
    ase_file = NequIPCalculator.from_compiled_model(
        str(folder / "si_ase.nequip.pt2"), device="cpu", chemical_species_to_atom_type_map=SPECIES
    )
    rows = {
        "Shoal, checkpoint imported": shoal_results(package, frames),
        "Shoal, package imported": shoal_results(from_zip, frames),
        "Shoal, imported and compiled, .shoal.pt2": shoal_results(compiled(package, folder / "si.shoal.pt2"), frames),
        "Shoal, imported and compiled, .shoal.pth": shoal_results(compiled(package, folder / "si.shoal.pth"), frames),
        "Shoal, NequIP's .nequip.pt2": shoal_results(folder / "si.nequip.pt2", frames),
        "NequIPTorchSimCalc, .nequip.pt2": torch_sim_results(folder / "si.nequip.pt2", frames),
        "NequIPCalculator, .nequip.pt2": ase_results(ase_file, frames),
    }
    lines = ["| largest difference | energy, eV/atom | forces, eV/A | stress, eV/A^3 |", "|---|---|---|---|"]
    for name, results in rows.items():
        differences = (np.abs(a - b).max() for a, b in zip(results, expected, strict=True))
        lines.append(f"| {name} | " + " | ".join(f"{value:.1e}" for value in differences) + " |")
    forces = np.abs(expected[1]).max()
    text = f"""# benchmarks/imported.py

To NequIPCalculator on the checkpoint, uncompiled, float32 core; {len(frames)} frames, forces up to {forces:.1f} eV/A.
Python {platform.python_version()}, torch {torch.__version__}, shoal {shoal.__version__}, nequip {nequip.__version__},
torch-sim {torch_sim.__version__}.

""" + "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
