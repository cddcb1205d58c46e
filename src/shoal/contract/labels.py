"""Building metatensor's labelled tensors by the table of quantities.

N atoms, R rows, P properties. metatensor is imported where first used: it loads a native library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from shoal.contract.quantities import GRADIENTS, Standard
from shoal.errors import InputError
from shoal.state import SimState

if TYPE_CHECKING:
    from metatensor.torch import Labels, TensorMap


@dataclass(frozen=True, eq=False)
class AtomRows:
    """Atoms that values or gradients are of: system (R,), atom within it (R,) and row of the packed state (R,)."""

    system: torch.Tensor
    atom: torch.Tensor
    index: torch.Tensor

    @classmethod
    def all_of(cls, state: SimState) -> AtomRows:
        """Every atom, ascending."""
        index = torch.arange(state.n_atoms, device=state.device)
        return cls(state.system_index, index - state.offsets.to(state.device)[state.system_index], index)

    @classmethod
    def selected(cls, atoms: Labels, state: SimState) -> AtomRows:
        """The atoms of `selected_atoms`, in its order. Raises InputError for other names or atoms that do not exist."""
        if list(atoms.names) != ["system", "atom"]:
            raise InputError(f"selected_atoms has the names {list(atoms.names)}, expected are ['system', 'atom']")
        system, atom = torch.as_tensor(atoms.values, device=state.device, dtype=torch.int64).unbind(1)
        sizes = state.n_atoms_per_system.to(state.device)
        known = (system >= 0) & (system < state.n_systems)
        known &= (atom >= 0) & (atom < sizes[torch.where(known, system, 0)]) if state.n_systems else known
        if not bool(known.all()):
            row = int((~known).nonzero()[0])
            raise InputError(
                f"selected_atoms holds atom {int(atom[row])} of system {int(system[row])}; the state has "
                f"{state.n_systems} systems of {state.n_atoms_per_system.tolist()[:10]} atoms"
            )
        return cls(system, atom, state.offsets.to(state.device)[system] + atom)


def tensor_map(
    quantity: Standard,
    samples: torch.Tensor,
    values: torch.Tensor,
    gradients: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
) -> TensorMap:
    """One block of a quantity.

    samples (R, 1) system or (R, 2) system and atom; values (R, *components, P); gradients: name -> samples and values
    (rows, *components of the gradient, *components of the quantity, P).
    """
    from metatensor.torch import Labels, TensorBlock, TensorMap

    device = values.device
    properties = Labels([quantity.property], _counted(values.shape[-1], device))
    block = TensorBlock(
        values=values,
        samples=Labels(["system", "atom"][: samples.shape[1]], samples.to(torch.int32), assume_unique=True),
        components=_axes(quantity.components, device),
        properties=properties,
    )
    for name, (rows, derivatives) in gradients.items():
        layout = GRADIENTS[name]
        block.add_gradient(
            name,
            TensorBlock(
                values=derivatives,
                samples=Labels(list(layout.samples), rows.to(torch.int32), assume_unique=True),
                components=_axes((*layout.components, *quantity.components), device),
                properties=properties,
            ),
        )
    return TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32, device=device)), [block])


def _axes(names: Sequence[str], device: torch.device) -> list[Labels]:
    from metatensor.torch import Labels

    return [Labels([name], _counted(3, device)) for name in names]


def _counted(n: int, device: torch.device) -> torch.Tensor:
    return torch.arange(n, dtype=torch.int32, device=device)[:, None]
