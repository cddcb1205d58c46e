"""An ASE calculator under judgement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.conformance.subject import Malformed, Species, Subject, Values
from shoal.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

COMMON = "Si Cu Al H C N O Ar Ni Ag Au Pt Pd Fe Na Cl Mg Ti Ge Ga As P S Li K Ca Zn W Mo Nb Ta Zr V Cr Mn Co Ne Kr"


class CalculatorSubject(Subject):
    """A calculator tells neither its elements nor its range; elements are tried, or taken from `structures`."""

    def __init__(self, calculator: Any, name: str, structures: Sequence[Atoms] = ()) -> None:
        self.calculator = calculator
        self.name = name
        given = {symbol: None for atoms in structures for symbol in atoms.symbols}
        self.species = tuple(map(Species, given or self._known()))

    def gives(self, name: str) -> bool:
        asked = {"strain_gradient": "stress", "atomic_energy": "energies"}.get(name, name)
        return asked in self.calculator.implemented_properties

    def evaluate(self, structures: Sequence[Atoms]) -> list[Values]:
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms: Atoms) -> Values:
        own = atoms.copy()
        own.calc = self.calculator
        values = {"energy": np.array(own.get_potential_energy())}
        if self.gives("forces"):
            values["forces"] = own.get_forces().copy()
        if self.gives("atomic_energy"):
            values["atomic_energy"] = own.get_potential_energies().copy()
        volume = abs(np.linalg.det(own.cell.array))
        if self.gives("stress") and volume > 0:
            values["stress"] = own.get_stress(voigt=False)
            values["strain_gradient"] = values["stress"] * volume
        expected = {"energy": (), "forces": (len(atoms), 3), "atomic_energy": (len(atoms),)}
        for key, shape in expected.items():
            if key in values and values[key].shape != shape:
                raise Malformed(f"{key} has shape {values[key].shape} where {shape} was due")
        return values

    def _known(self) -> list[str]:
        """The first two of the common elements that the calculator takes."""
        from ase import Atoms

        known: list[str] = []
        for symbol in COMMON.split():
            try:
                self._one(Atoms([symbol] * 2, [[0, 0, 0], [0, 0, 2.5]]))
            except Exception:  # calculators say in many ways that they do not know an element
                continue
            known.append(symbol)
            if len(known) == 2:
                break
        if not known:
            raise InputError(f"{self.name} evaluates no pair of atoms of one element; give it --structures")
        return known
