"""Make the demo's silicon data: 120 disordered cells and an equation of state, labelled with GFN1-xTB.

    python examples/make_silicon_data.py --out src/shoal/demo/data --workers 2

Needs tblite (`pip install "shoal[label]"`). Each labelled frame is kept under --work, so a run that was
stopped goes on where it was. Units: A, eV, eV/A, eV/A^3, K; strains are linear (a / a0 - 1).
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.eos import EquationOfState
from ase.io import iread, write
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list
from rich.console import Console
from rich.progress import track
from rich.table import Table

LATTICE_CONSTANT = 5.625  # GFN1-xTB's minimum for this cell at the Gamma point
SHORTEST_BOND = 1.9  # frames with closer atoms are drawn again
EOS_STRAINS = np.linspace(-0.05, 0.05, 30)


class Keating(Calculator):
    """Bond stretching and bending on the fixed bonds of the diamond lattice.

    P. N. Keating, Phys. Rev. 145, 637 (1966); silicon's constants from R. M. Martin, Phys. Rev. B 1, 4005
    (1970). The bond length is the given crystal's own, so thermal motion is about its cell.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    stretch, bend = 3.027, 0.862  # eV/A^2: 48.50 and 13.81 N/m

    def __init__(self, crystal: Atoms):
        super().__init__()
        centre, self.neighbor, self.shift, length = neighbor_list("ijSd", crystal, 0.5 * LATTICE_CONSTANT)
        assert (np.bincount(centre) == 4).all()
        self.length = length.mean()

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        neighbor = self.neighbor.reshape(-1, 4)
        bond = (atoms.positions[self.neighbor] + self.shift @ atoms.cell).reshape(-1, 4, 3)
        bond -= atoms.positions[:, None]
        ideal = self.length**2 * (4 / 3 * np.eye(4) - 1 / 3)
        stiffness = 3 / (16 * self.length**2) * (self.bend + (self.stretch - self.bend) * np.eye(4))
        deviation = np.einsum("njx,nkx->njk", bond, bond) - ideal
        pull = 4 * np.einsum("jk,njk,nkx->njx", stiffness, deviation, bond)
        forces = pull.sum(axis=1)
        np.subtract.at(forces, neighbor, pull)
        self.results = {"energy": float((stiffness * deviation**2).sum()), "forces": forces}


def crystal(strain: np.ndarray | float = 0.0) -> Atoms:
    """64 atoms, 2 x 2 x 2 cubic cells, under a linear strain: a number or a symmetric 3 x 3 matrix."""
    atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True) * (2, 2, 2)
    deformation = np.eye(3) + strain * (np.eye(3) if np.ndim(strain) == 0 else 1)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return atoms


def random_strain(rng: np.random.Generator, dilation: float, distortion: float) -> np.ndarray:
    gradient = rng.normal(0, distortion, (3, 3))
    return dilation * np.eye(3) + (gradient + gradient.T) / 2


def rattle(atoms: Atoms, rng: np.random.Generator, width: float) -> Atoms:
    atoms.positions += rng.normal(0, width, atoms.positions.shape)
    return atoms


# A family draws one frame; u runs evenly from 0 to 1 over its frames.


def strained(rng, u):
    """Volumes beyond both ends of the equation of state, half of the cells distorted too."""
    return rattle(crystal(random_strain(rng, 0.055 * (2 * u - 1), rng.choice([0, 0.02]))), rng, 0.01)


def rattled(rng, u):
    return rattle(crystal(random_strain(rng, rng.uniform(-0.03, 0.03), 0.005)), rng, 0.02 + 0.10 * u)


def hot(rng, u):
    """Last step of 1 ps of Langevin dynamics at 300 to 1200 K in the Keating potential."""
    atoms = crystal(rng.uniform(-0.03, 0.03))
    atoms.calc = Keating(atoms)
    dynamics = Langevin(
        atoms, 2 * units.fs, temperature_K=300 + 900 * u, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    dynamics.run(500)
    return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def vacancy(rng, u):
    atoms = crystal(random_strain(rng, rng.uniform(-0.02, 0.02), 0.01))
    del atoms[rng.integers(len(atoms))]
    return rattle(atoms, rng, 0.02 + 0.06 * u)


FAMILIES = {strained: 30, rattled: 35, hot: 35, vacancy: 20}


def training_frames(seed: int) -> list[Atoms]:
    """All families, mixed so that any run of neighbouring frames has about the same share of each."""
    rng = np.random.default_rng(seed)
    frames: list[Atoms] = []
    keys: list[float] = []
    for family, count in FAMILIES.items():
        for u in track(np.linspace(0, 1, count), f"drawing {family.__name__}"):
            frames.append(tagged(draw(family, rng, u), family.__name__))
        keys.extend((rng.permutation(count) + rng.random(count)) / count)
    return [frames[i] for i in np.argsort(keys)]


def draw(family, rng: np.random.Generator, u: float) -> Atoms:
    while True:
        atoms = family(rng, u)
        if neighbor_list("d", atoms, 3.0).min() > SHORTEST_BOND:
            return atoms


def tagged(atoms: Atoms, config_type: str) -> Atoms:
    """Rounded to the decimals of the file, so that the labels belong to what is stored."""
    atoms.positions = atoms.positions.round(8)
    atoms.cell = atoms.cell.array.round(8)
    atoms.info["config_type"] = config_type
    return atoms


def label(atoms: Atoms, path: Path) -> None:
    """Write the frame with its energy, forces and stress; a file is there only when complete."""
    from tblite.ase import TBLite

    atoms.calc = TBLite(method="GFN1-xTB", accuracy=0.1, electronic_temperature=300.0, verbosity=0)
    labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    partial = path.with_suffix(".partial")
    write(partial, atoms, format="extxyz")
    partial.rename(path)


def is_labelled(atoms: Atoms, path: Path) -> bool:
    if not path.exists():
        return False
    stored = next(iread(path))
    return len(stored) == len(atoms) and np.allclose(stored.positions, atoms.positions, rtol=0, atol=1e-7)


def summary(frames: list[Atoms], eos: list[Atoms]) -> Table:
    volume, energy, bulk_modulus = EquationOfState(
        [a.get_volume() for a in eos], [a.get_potential_energy() for a in eos], eos="birchmurnaghan"
    ).fit()
    table = Table("family", "frames", "RMS force, eV/A", "energy above the minimum, eV/atom")
    for name in [family.__name__ for family in FAMILIES]:
        members = [a for a in frames if a.info["config_type"] == name]
        forces = np.concatenate([a.get_forces() for a in members])
        excess = [a.get_potential_energy() / len(a) - energy / 64 for a in members]
        row = f"{np.sqrt((forces**2).mean()):.3f}", f"{min(excess):.3f} to {max(excess):.3f}"
        table.add_row(name, str(len(members)), *row)
    table.caption = f"Birch-Murnaghan: a0 {np.cbrt(volume) / 2:.4f} A, B {bulk_modulus / units.GPa:.1f} GPa"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("src/shoal/demo/data"), help="where the files go")
    parser.add_argument("--work", type=Path, default=Path("build/silicon"), help="labelled frames, one each")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    os.environ["OMP_NUM_THREADS"] = "1"  # one process per core beats threads within one small cell
    options.out.mkdir(parents=True, exist_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)
    sets = {
        "silicon": training_frames(options.seed),
        "silicon_eos": [tagged(crystal(strain), "eos") for strain in EOS_STRAINS],
    }
    paths = {name: [options.work / f"{name}_{i:03d}.xyz" for i in range(len(sets[name]))] for name in sets}
    jobs = [job for name in sets for job in zip(sets[name], paths[name], strict=True)]
    jobs = [job for job in jobs if not is_labelled(*job)]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(label, *job) for job in jobs]
        for done in track(as_completed(pending), "labelling with GFN1-xTB", total=len(pending)):
            done.result()
    for name in sets:
        write(options.out / f"{name}.xyz", [next(iread(path)) for path in paths[name]], format="extxyz")
    Console().print(summary(*(list(iread(options.out / f"{name}.xyz")) for name in sets)))


if __name__ == "__main__":
    main()
