"""Asking a potential for labelled outputs, and reading them as plain arrays.

N atoms, S systems, R rows of the values, P properties.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.lab import Lab
from shoal.conformance.labels import row_of
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable
from shoal.contract import OutputRequest, Support

if TYPE_CHECKING:
    from ase import Atoms
    from metatensor.torch import Labels, TensorMap

    from shoal.contract.request import SampleKind
    from shoal.neighbors import NeighborList
    from shoal.state import SimState


@dataclass(frozen=True)
class Table:
    """Values (R, ...) by sample, and gradients by name as (samples, values)."""

    samples: np.ndarray
    values: np.ndarray
    gradients: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def read(cls, output: TensorMap) -> Table:
        block = output.block(0)
        return cls(
            block.samples.values.cpu().numpy(),
            block.values.detach().cpu().numpy(),
            {
                name: (gradient.samples.values.cpu().numpy(), gradient.values.detach().cpu().numpy())
                for name, gradient in block.gradients()
            },
        )

    def moved_by(self, sizes: Sequence[int]) -> np.ndarray:
        """The positions gradient with every row in its place, (R, N, 3, ...), N all atoms; what is left out is zero."""
        rows, derivatives = self.gradients["positions"]
        starts = np.cumsum([0, *sizes])
        dense = np.zeros((len(self.values), int(starts[-1]), *derivatives.shape[1:]))
        dense[rows[:, 0], starts[rows[:, 1]] + rows[:, 2]] = derivatives
        return dense

    def parts(self, sizes: Sequence[int]) -> dict[str, np.ndarray]:
        """Values and gradients by what they are, the gradient in positions with every row in its place."""
        parts = {"values": self.values}
        if "positions" in self.gradients:
            parts["positions gradient"] = self.moved_by(sizes)
        if "strain" in self.gradients:
            parts["strain gradient"] = self.gradients["strain"][1]
        return parts


def labelled_subject(lab: Lab) -> PotentialSubject:
    """The subject, if it has a labelled face. Raises NotApplicable."""
    subject = lab.subject
    if not isinstance(subject, PotentialSubject):
        raise NotApplicable("it has no labelled outputs")
    if subject.capabilities is None or not subject.capabilities.quantities:
        raise NotApplicable("it declares no labelled outputs")
    return subject


def energy_support(lab: Lab) -> tuple[PotentialSubject, Support]:
    """The subject and how it serves energies. Raises NotApplicable."""
    subject = labelled_subject(lab)
    assert subject.capabilities is not None
    if "energy" not in subject.capabilities.quantities:
        raise NotApplicable("it declares no labelled energy")
    return subject, subject.capabilities.quantities["energy"]


def energies(lab: Lab) -> tuple[PotentialSubject, dict[str, Support]]:
    """The subject and how it serves every energy: variants, ensembles and uncertainties too. Raises NotApplicable."""
    subject = labelled_subject(lab)
    assert subject.capabilities is not None
    declared = subject.capabilities.quantities
    found = {name: support for name, support in declared.items() if is_energy(name)}
    if not found:
        raise NotApplicable("it declares no labelled energy")
    return subject, found


def is_energy(name: str) -> bool:
    """Whether a quantity is an energy, by its row in the table."""
    row = row_of(name)
    return row is not None and row.property == "energy"


def additive(subject: PotentialSubject, name: str) -> bool:
    """Whether values per atom sum to that of the system; of a model's own quantities without a layout nobody knows."""
    row = row_of(name, subject.capabilities)
    return row is not None and row.name != "energy_uncertainty"


def tensors(
    subject: PotentialSubject,
    state: SimState,
    neighbors: NeighborList | None = None,
    atom_types: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Labelled energies of every kind and their explicit gradients, as they were handed out."""
    assert subject.capabilities is not None
    found: dict[str, torch.Tensor] = {}
    support = subject.capabilities.quantities.get("energy")
    for kind, gradients in kinds(support) if support is not None else ():
        request = OutputRequest(sample_kind=kind, explicit_gradients=gradients)
        block = subject.outputs_of(state, {"energy": request}, None, neighbors, atom_types)["energy"].block(0)
        found[f"labelled energy per {kind}"] = block.values
        found |= {f"its {name} gradient per {kind}": gradient.values for name, gradient in block.gradients()}
    return found


def ask(
    subject: PotentialSubject,
    structures: Sequence[Atoms],
    name: str = "energy",
    selected: np.ndarray | None = None,
    **request: object,
) -> Table:
    """One labelled quantity of structures in one batch."""
    state = subject.pack(structures)
    answer = subject.outputs_of(state, {name: OutputRequest(**request)}, labels(selected, state))  # type: ignore[arg-type]
    return Table.read(answer[name])


def labels(selected: np.ndarray | None, state: SimState) -> Labels | None:
    """(system, atom) rows as metatensor's Labels."""
    if selected is None:
        return None
    from metatensor.torch import Labels

    values = torch.tensor(np.asarray(selected).reshape(-1, 2), dtype=torch.int32, device=state.device)
    return Labels(["system", "atom"], values)


def every_atom(sizes: Sequence[int]) -> np.ndarray:
    """(system, atom) of all atoms."""
    rows = [(s, a) for s, size in enumerate(sizes) for a in range(size)]
    return np.array(rows, dtype=int).reshape(-1, 2)


def halves(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A selection in no particular order, and the rest; the last system, if there are two, is all in the rest."""
    rows = every_atom(sizes)
    chosen = (np.arange(len(rows)) % 3 != 1) & ((rows[:, 0] < len(sizes) - 1) | (len(sizes) == 1))
    return np.random.default_rng(2).permutation(rows[chosen]), rows[~chosen]


def kinds(support: Support) -> Iterator[tuple[SampleKind, tuple[str, ...]]]:
    """Sample kinds with the gradients that each offers."""
    for kind in support.sample_kinds:
        yield kind, tuple(support.explicit_gradients.get(kind, ()))
