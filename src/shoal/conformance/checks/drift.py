"""A short NVE run keeps its energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally
from shoal.units import ACCELERATION, KINETIC

if TYPE_CHECKING:
    from ase import Atoms

N_STEPS = 24
TIMESTEP = 0.8  # fs for carbon; heavier atoms take longer steps
SPEED = 0.01  # A/fs for carbon, about 300 K
RESOLVED = 5e-3
"""eV per atom that the total energy may vary by along a run; if it varies more, the timestep is halved."""
MOST_HALVINGS = 4
TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
"""eV per atom."""


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("forces")
    truncation = lab.subject.truncation
    excuse = "" if lab.subject.conservative else "the forces are declared as not conservative"
    if truncation == "none":
        excuse = "truncation: none"
    for name in ("triclinic",) if lab.fast else ("molecule", "triclinic"):
        atoms = lab.structures[name]
        timestep, coarse = _resolved(lab, atoms)
        fine = _energies(lab, atoms, timestep / 2, 2 * N_STEPS)[::2]
        # the error of velocity Verlet falls by four with half the timestep; what does not is no error of it
        left = (4 * (fine - fine[0]) - (coarse - coarse[0])) / 3
        worst = float(np.abs(left).max()) if np.isfinite(left).all() else np.inf
        tally.add(f"{name}, eV/atom", worst / len(atoms), TOLERANCE[lab.subject.dtype], declared=excuse)


def _resolved(lab: Lab, atoms: Atoms) -> tuple[float, np.ndarray]:
    """A timestep (fs) short enough for forces as stiff as these, and the total energies along its run."""
    timestep = TIMESTEP * float(np.sqrt(atoms.get_masses().min() / 12.0))
    coarse = _energies(lab, atoms, timestep, N_STEPS)
    for _ in range(MOST_HALVINGS):
        if np.abs(coarse - coarse[0]).max() <= RESOLVED * len(atoms):
            break
        timestep /= 2
        coarse = _energies(lab, atoms, timestep, N_STEPS)
    return timestep, coarse


def _energies(lab: Lab, atoms: Atoms, timestep: float, n_steps: int) -> np.ndarray:
    """Total energy (n_steps + 1,) eV along velocity Verlet, from the same start whatever the timestep (fs)."""
    masses = atoms.get_masses()[:, None]
    velocity = np.random.default_rng(7).normal(0, SPEED / np.sqrt(3), (len(atoms), 3)) * np.sqrt(12.0 / masses)
    moving = atoms.copy()
    values = lab.subject.evaluate([moving])[0]
    total = []
    for step in range(n_steps + 1):
        if step:
            velocity = velocity + 0.5 * timestep * ACCELERATION * values["forces"] / masses
            moving.positions += timestep * velocity
            values = lab.subject.evaluate([moving])[0]
            velocity = velocity + 0.5 * timestep * ACCELERATION * values["forces"] / masses
        total.append(float(values["energy"]) + 0.5 * KINETIC * float((masses * velocity**2).sum()))
    return np.array(total)


CHECK = Check(
    number=22,
    name="NVE drift",
    law="Energy is conserved by velocity Verlet, beyond the error that halving the timestep explains.",
    meaning="MD heats or cools by itself, so that temperatures, and all that follows from them, are wrong.",
    run=_run,
)
