"""The engines of benchmarks/relax.py, each in a process of its own: `python benchmarks/_relax_engines.py ENGINE FILE`.

An engine is warmed up on a task, relaxes its structures and says how many seconds that took, and hands out the last
structures. FIRE with a Frechet cell filter throughout, as ASE has both, until no force is above FMAX.
"""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from _workers import serve

FMAX, MAX_STEPS = 0.05, 500  # eV/A
EPSILON, SIGMA, CUTOFF = 0.409, 2.338, 6.0  # eV, A, A
SPECIES = {"Si": "Si"}
N_WARM = 8

Final = list[dict[str, Any]]


def structures(task: str, n: int) -> list[Atoms]:
    """`n` cells, strained and rattled: copper of 32 atoms for "LJ", silicon of 8 for the others."""
    return [copper(seed) if task == "LJ" else silicon(seed) for seed in range(n)]


def copper(seed: int) -> Atoms:
    generator = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    strain = np.eye(3) * generator.uniform(0.97, 1.04) + generator.normal(0, 0.01, (3, 3))
    return rattled(atoms, strain, generator)


def silicon(seed: int) -> Atoms:
    generator = np.random.default_rng(seed)
    return rattled(bulk("Si", "diamond", a=5.43, cubic=True), np.eye(3) + generator.normal(0, 0.01, (3, 3)), generator)


def rattled(atoms: Atoms, strain: np.ndarray, generator: np.random.Generator) -> Atoms:
    atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    atoms.positions += generator.normal(0, 0.08, atoms.positions.shape)
    return atoms


def our_potential(task: str, file: str) -> Any:
    """What Shoal takes for a task: a potential, or the compiled NequIP file."""
    from shoal.engine import BatchCalculator
    from shoal.potentials import LennardJones, StillingerWeber

    if task == "learned":
        return BatchCalculator.of(Path(file), chemical_species_to_atom_type_map=SPECIES)
    return StillingerWeber() if task == "SW" else LennardJones({"Cu": (EPSILON, SIGMA)}, CUTOFF, "none")


def _longest(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows, axis=1).max())


def final(atoms: Atoms, n_steps: int | None) -> dict[str, Any]:
    return {"positions": atoms.positions.tolist(), "cell": atoms.cell.tolist(), "n_steps": n_steps}


class Shoal:
    """`shoal.relax`, its steps compiled: with Lennard-Jones, before and after the others' evaluation."""

    def __init__(self, file: str) -> None:
        self.file = file

    def versions(self) -> dict[str, str]:
        import torch

        import shoal

        return {"shoal": shoal.__version__, "torch": torch.__version__, "Python": platform.python_version()}

    def start(self, task: str, n: int) -> None:
        self.potential = our_potential(task, self.file)
        self.cells = structures(task, n)
        self._relax(self.cells[:N_WARM])

    def run(self) -> float:
        begin = time.perf_counter()
        self.results = self._relax(self.cells)
        return time.perf_counter() - begin

    def last(self) -> Final:
        frames = zip(self.results.to_atoms(), self.results.n_steps, strict=True)
        return [final(atoms, int(n_steps)) for atoms, n_steps in frames]

    def shares(self) -> dict[str, float]:
        """Seconds of a whole relaxation and of its parts; no "model" where steps are compiled."""
        from shoal.throughput.parts import timed_parts

        with timed_parts() as seconds:
            total = self.run()
            parts = dict(seconds)
        return {"list": 0.0, "model": 0.0, **parts, "total": total}

    def judge(self, task: str, cells: list[Any]) -> dict[str, list[float]]:
        """Energies (eV/atom), largest forces (eV/A) and largest rows of the virial (eV/atom) of relaxed structures."""
        import shoal

        frames = structures(task, len(cells))
        for atoms, last in zip(frames, cells, strict=True):
            atoms.set_cell(last["cell"])
            atoms.positions = last["positions"]
        found = shoal.evaluate(frames, our_potential(task, self.file), progress=False)
        return {
            "energies": [float(one.values["energy"]) / one.n_atoms for one in found],
            "forces": [_longest(one.values["forces"]) for one in found],
            "virials": [
                _longest(one.values["stress"]) * atoms.get_volume() / one.n_atoms
                for one, atoms in zip(found, frames, strict=True)
            ],
        }

    def _relax(self, cells: list[Atoms]) -> Any:
        import shoal

        return shoal.relax(
            cells,
            self.potential,
            cell="frechet",
            fmax=FMAX,
            max_steps=MAX_STEPS,
            compile=True,
            progress=False,
        )


class TorchSim:
    """`torch_sim.optimize`, everything in one batch or so many atoms at a time; it looks every 5 steps what is done.

    Lennard-Jones is its own, the learned model NequIP's calculator; Stillinger-Weber it has none, so ours is used.
    """

    def __init__(self, file: str, resident: int | None) -> None:
        self.file, self.resident = file, resident

    def versions(self) -> dict[str, str]:
        import nequip
        import torch_sim

        return {"torch-sim": torch_sim.__version__, "nequip": nequip.__version__}

    def start(self, task: str, n: int) -> None:
        import torch

        if task == "LJ":
            from torch_sim.models.lennard_jones import LennardJonesModel

            self.model = LennardJonesModel(
                sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF, dtype=torch.float64, compute_stress=True
            )
        elif task == "SW":
            from shoal.integrations.torch_sim import TorchSimCalculator

            self.model = TorchSimCalculator(our_potential(task, self.file))
        else:
            from nequip.integrations.torchsim import NequIPTorchSimCalc

            self.model = NequIPTorchSimCalc.from_compiled_model(
                self.file, device="cpu", chemical_species_to_atom_type_map=SPECIES
            )
        self.cells = structures(task, n)
        self._optimize(self.cells[:N_WARM])

    def run(self) -> float:
        begin = time.perf_counter()
        self.state = self._optimize(self.cells)
        return time.perf_counter() - begin

    def last(self) -> Final:
        return [final(atoms, None) for atoms in self.state.to_atoms()]

    def _optimize(self, cells: list[Atoms]) -> Any:
        import torch_sim as ts

        batcher: Any = False
        if self.resident is not None:
            batcher = ts.InFlightAutoBatcher(self.model, max_memory_scaler=self.resident, memory_scales_with="n_atoms")
        return ts.optimize(
            cells,
            self.model,
            optimizer=ts.Optimizer.fire,
            convergence_fn=ts.generate_force_convergence_fn(force_tol=FMAX, include_cell_forces=True),
            max_steps=MAX_STEPS,
            steps_between_swaps=5,
            autobatcher=batcher,
            init_kwargs={"cell_filter": ts.CellFilter.frechet},
        )


class ASE:
    """ASE's FIRE and FrechetCellFilter, one structure after the other, with ShoalCalculator or what else there is.

    That is ASE's own Lennard-Jones, matscipy's Stillinger-Weber, and for the learned model NequIP's calculator with
    the same weights, compiled for it (`FILE_ase.nequip.pt2` beside the file).
    """

    def __init__(self, file: str, ours: bool) -> None:
        self.file, self.ours = file, ours

    def versions(self) -> dict[str, str]:
        import ase
        import matscipy

        return {"ASE": ase.__version__, "matscipy": matscipy.__version__}

    def start(self, task: str, n: int) -> None:
        self.calculator = self._calculator(task)
        self.cells = structures(task, n)
        self._relax(self.cells[:1])

    def run(self) -> float:
        begin = time.perf_counter()
        self.relaxed = self._relax(self.cells)
        return time.perf_counter() - begin

    def last(self) -> Final:
        return [final(atoms, n_steps) for atoms, n_steps in self.relaxed]

    def _relax(self, cells: list[Atoms]) -> list[tuple[Atoms, int]]:
        from ase.filters import FrechetCellFilter
        from ase.optimize import FIRE

        done = []
        for start in cells:
            atoms = start.copy()
            atoms.calc = self.calculator
            optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
            optimizer.run(fmax=FMAX, steps=MAX_STEPS)
            done.append((atoms, optimizer.nsteps))
        return done

    def _calculator(self, task: str) -> Any:
        if self.ours:
            from shoal.integrations.ase import ShoalCalculator

            return ShoalCalculator(our_potential(task, self.file))
        if task == "LJ":
            from ase.calculators.lj import LennardJones

            return LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, smooth=False)
        if task == "SW":
            from matscipy.calculators.manybody import Manybody
            from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
                Stillinger_Weber_PRB_31_5262_Si,
                StillingerWeber,
            )

            return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
        from nequip.integrations.ase import NequIPCalculator

        return NequIPCalculator.from_compiled_model(
            self.file.replace(".nequip.pt2", "_ase.nequip.pt2"), chemical_species_to_atom_type_map=SPECIES
        )


def main(name: str, file: str, resident: str) -> None:
    engines = {
        "shoal": lambda: Shoal(file),
        "torch-sim": lambda: TorchSim(file, int(resident)),
        "torch-sim-one-batch": lambda: TorchSim(file, None),
        "ase": lambda: ASE(file, ours=False),
        "ase-shoal": lambda: ASE(file, ours=True),
    }
    serve(engines[name]())


if __name__ == "__main__":
    main(*sys.argv[1:])
