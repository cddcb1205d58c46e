"""What is judged: anything that turns structures into energies, seen through one narrow face.

N atoms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shoal.contract import Capabilities, Truncation

if TYPE_CHECKING:
    from ase import Atoms

Values = Mapping[str, np.ndarray]
"""energy (), forces (N, 3), strain_gradient (3, 3), stress (3, 3), atomic_energy (N,) of one structure; float64."""


class Species(NamedTuple):
    """An element, or a type that is reached by `type_label` only."""

    symbol: str
    label: str = ""

    def __str__(self) -> str:
        return self.label or self.symbol


class Malformed(Exception):
    """A model's output has the wrong rows or shape, so that there is no telling which value is whose."""


class Subject(ABC):
    """A model under judgement.

    `dtype`: the precision that it claims, which chooses the tolerances. `cutoff` A: pairs beyond it do not touch, and
    `interaction_range` A: how far a displaced atom is felt; infinite if the model does not say. `batches`: takes
    several structures in one call. `ours`: held to Shoal's own rules where the standard is silent.
    """

    name: str
    species: tuple[Species, ...]
    capabilities: Capabilities | None = None
    dtype: str = "float64"
    cutoff: float = inf
    interaction_range: float = inf
    batches: bool = False
    ours: bool = False

    @property
    def truncation(self) -> Truncation | None:
        """As declared; None if the model does not say."""
        return None if self.capabilities is None else self.capabilities.truncation

    @property
    def conservative(self) -> bool:
        return self.capabilities is None or self.capabilities.conservative

    @abstractmethod
    def evaluate(self, structures: Sequence[Atoms]) -> list[Values]:
        """Everything it gives of each structure, all in one call if it can. Raises Malformed."""

    @abstractmethod
    def gives(self, name: str) -> bool:
        """Whether structures with a volume get this key of `Values`."""
