"""`ShoalCalculator`: any Shoal model as an ASE calculator.

N atoms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from shoal.engine import BatchCalculator
from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials import Potential
from shoal.state import SimState


class ShoalCalculator(Calculator):
    """energy and free_energy (eV), forces (eV/A), stress (eV/A^3, Voigt) and energies (eV) of one structure.

    `model`: a model file, a Potential or a BatchCalculator. `skin` (A): the neighbour list is kept until an atom or
    the cell has moved so far that a pair could be missing; 0 builds it anew at each call.
    `chemical_species_to_atom_type_map`: as for BatchCalculator. Raises InputError, UnsupportedSpeciesError and
    ModelFileError; asking for the stress of a structure without volume is ASE's PropertyNotImplementedError.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "energies"]  # noqa: RUF012 (ASE declares it so)

    def __init__(
        self,
        model: str | Path | Potential | BatchCalculator,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
        skin: float = 0.5,
    ) -> None:
        super().__init__()
        self.batch_calculator = BatchCalculator.of(
            model, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
        )
        self.skin = float(skin)
        self.n_rebuilds = 0
        self._neighbors: NeighborList | None = None
        self._key: tuple[Any, ...] | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        calculator = self.batch_calculator
        assert self.atoms is not None
        state = atoms_to_state(self.atoms).to(calculator.device)
        outputs = [
            name for name in ("energy", "forces", "stress", "atomic_energy") if name in calculator.capabilities.outputs
        ]
        values = calculator.potential(state, self._current_list(state), outputs, atom_types=calculator.type_map(state))
        host = {name: value.cpu().numpy() for name, value in values.items()}
        if not all(np.isfinite(value).all() for name, value in host.items() if name != "stress"):
            raise CalculationFailed("energy or forces are not finite; atoms may lie on top of each other")
        self.results = {"energy": float(host["energy"][0]), "free_energy": float(host["energy"][0])}
        if "forces" in host:
            self.results["forces"] = host["forces"]
        if "atomic_energy" in host:
            self.results["energies"] = host["atomic_energy"]
        if "stress" in host and not bool(torch.isnan(values["stress"]).any()):
            self.results["stress"] = full_3x3_to_voigt_6_stress(host["stress"][0])
        elif properties and "stress" in properties:
            raise PropertyNotImplementedError(
                "stress is undefined: the cell has no volume (set a cell, or ask for less)"
            )

    def _current_list(self, state: SimState) -> NeighborList:
        """The kept list while it still holds every pair within the cutoff, else a new one."""
        key = (state.n_atoms, state.pbc.tolist())
        old = self._neighbors
        if old is None or key != self._key or bool(old.outdated(state).any()):
            old = neighbor_list(state, self.batch_calculator.cutoff, self.skin)
            self._neighbors, self._key = old, key
            self.n_rebuilds += 1
        return old
