"""What a relaxation carries on, and the generalised coordinates in which it steps.

N atoms, S systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from shoal.motion import Frame, Systems, per_atom, per_system


@dataclass(frozen=True, eq=False)
class RelaxState(Frame):
    """A frame and its virial (S, 3, 3) eV: where a relaxation starts. No virial need be known if the cell stays."""

    virial: torch.Tensor = per_system()


@dataclass(frozen=True, eq=False)
class DeformedState(RelaxState):
    """A frame as a cell filter sees it.

    The periodic rows of the cell are those of reference (S, 3, 3) A times deformation (S, 3, 3), and an atom at r has
    the coordinates r deformation^-1; deformation = 1 + strain. rows (S, 3, 3) are the filter's own coordinates of the
    cell, before its cell factor. span (S, 3, 3) projects on the directions in which a system is periodic; strain_mask
    (S, 3, 3) is 1 for components of the strain that may change; pressure (S,) eV/A^3 acts on systems that are
    periodic at all. pull (N, 3) and row_pull (S, 3, 3) eV/A are the forces on the coordinates, constraints held.
    """

    reference: torch.Tensor = per_system()
    deformation: torch.Tensor = per_system()
    rows: torch.Tensor = per_system()
    span: torch.Tensor = per_system()
    strain_mask: torch.Tensor = per_system()
    pressure: torch.Tensor = per_system()
    pull: torch.Tensor = per_atom()
    row_pull: torch.Tensor = per_system()

    @property
    def pulls(self) -> Coordinates:
        """The forces on the coordinates."""
        return Coordinates(self.pull, self.row_pull)


class Coordinates(NamedTuple):
    """Generalised coordinates or their forces: of the atoms (N, 3), and three rows for each cell (S, 3, 3)."""

    atoms: torch.Tensor
    rows: torch.Tensor

    def plus(self, other: Coordinates) -> Coordinates:
        return Coordinates(self.atoms + other.atoms, self.rows + other.rows)

    def minus(self, other: Coordinates) -> Coordinates:
        return Coordinates(self.atoms - other.atoms, self.rows - other.rows)

    def times(self, factor: torch.Tensor, systems: Systems) -> Coordinates:
        """Each system's coordinates times its factor (S,)."""
        return Coordinates(self.atoms * systems.of_atoms(factor)[:, None], self.rows * factor[:, None, None])

    def dot(self, other: Coordinates, systems: Systems) -> torch.Tensor:
        """(S,): the inner product over all coordinates of a system."""
        return systems.sum((self.atoms * other.atoms).sum(1)) + (self.rows * other.rows).sum((1, 2))

    def longest(self, systems: Systems) -> torch.Tensor:
        """(S,): the norm of a system's longest row, of an atom or of its cell."""
        rows = self.rows.square().sum(2).amax(1)
        return rows.scatter_reduce(0, systems.system_index, self.atoms.square().sum(1), "amax").sqrt()
