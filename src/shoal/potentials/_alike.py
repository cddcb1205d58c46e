"""Whether potentials can stand for each other on one structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoal.errors import InputError

if TYPE_CHECKING:
    from shoal.potentials.base import Potential


def check_alike(potentials: Sequence[Potential], what: str) -> None:
    """Raises InputError, naming `what` they are, unless all have the atom types and the map of the first."""
    first = potentials[0]
    for k, potential in enumerate(potentials):
        if potential.type_names != first.type_names or potential.species_map != first.species_map:
            raise InputError(
                f"{what} must have the same atom types and map: potential 0 has {first.type_names} and "
                f"{first.species_map}, potential {k} {potential.type_names} and {potential.species_map}"
            )
