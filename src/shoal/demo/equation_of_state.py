"""Energy over volume, and what a fit says of it: equilibrium volume and bulk modulus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.engine import BatchCalculator
from shoal.io import atoms_to_state
from shoal.units import GPA

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class Curve:
    """Volumes (A^3/atom), energies (eV/atom) and their Birch-Murnaghan fit.

    `volume` A^3/atom, `energy` eV/atom and `bulk_modulus` GPa at the minimum, `slope` dB/dP; NaN where no fit is found.
    """

    volumes: np.ndarray
    energies: np.ndarray
    volume: float
    energy: float
    bulk_modulus: float
    slope: float

    def at(self, volumes: np.ndarray) -> np.ndarray:
        """Energy (eV/atom) of the fit at volumes (A^3/atom)."""
        from ase.eos import birchmurnaghan

        return birchmurnaghan(volumes, self.energy, self.bulk_modulus * GPA, self.slope, self.volume)


@dataclass(frozen=True)
class Comparison:
    """The model's curve beside that of the labels, on the same volumes with the same fit."""

    model: Curve
    labels: Curve
    n_atoms: int

    @property
    def volume_error(self) -> float:
        """Relative."""
        return self.model.volume / self.labels.volume - 1

    @property
    def bulk_modulus_error(self) -> float:
        """Relative."""
        return self.model.bulk_modulus / self.labels.bulk_modulus - 1


def compare_equations_of_state(calculator: BatchCalculator, frames: list[Atoms]) -> Comparison:
    """Evaluate labelled frames of one crystal at many volumes in one batch, and fit both sets of energies."""
    energies = calculator(atoms_to_state(frames), ["energy"])["energy"].cpu().numpy()
    sizes = np.array([len(atoms) for atoms in frames])
    volumes = np.array([atoms.get_volume() for atoms in frames]) / sizes
    labels = np.array([atoms.get_potential_energy() for atoms in frames]) / sizes
    return Comparison(fit(volumes, energies / sizes), fit(volumes, labels), int(sizes.sum()))


def fit(volumes: np.ndarray, energies: np.ndarray) -> Curve:
    """Fit F. Birch's equation, Phys. Rev. 71, 809 (1947), as ASE does it (A^3/atom, eV/atom)."""
    from ase.eos import EquationOfState

    equation = EquationOfState(volumes, energies, eos="birchmurnaghan")
    try:
        equation.fit(warn=False)
        energy, bulk_modulus, slope, volume = map(float, equation.eos_parameters)
    except (RuntimeError, ValueError, TypeError):  # no minimum, or energies that are not finite
        energy = bulk_modulus = slope = volume = float("nan")
    return Curve(volumes, energies, volume, energy, bulk_modulus / GPA, slope)
