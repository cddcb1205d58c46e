"""metatomic's own heat flux of a potential of ours: its unfolding, its gradients, its sums."""

# metatomic compares the annotations of a model's forward with these very types, so they are no strings here
from typing import Dict, List, Optional  # noqa: UP035

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    System,
)
from metatomic.torch.heat_flux import HeatFlux

from shoal.neighbors import neighbor_list
from shoal.potentials import Potential
from shoal.state import SimState


class _Energies(torch.nn.Module):
    """Atomic energies of one system, differentiable in its positions; finds its neighbours itself."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = [potential]  # hidden from metatomic, which freezes what it finds

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels],  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        (system,), (potential,) = systems, self.potential
        state = SimState.build(system.positions, system.types.to(torch.int64), [len(system)])
        types = potential.type_map()(state)
        if potential.capabilities.quantities["energy"].differentiable:
            members = potential.energies(state, neighbor_list(state, potential.cutoff), types)
            values = members.mean(dim=1, keepdim=True)
        else:
            values = _Differentiable.apply(state.positions, state, potential, types)
        atoms = torch.stack([torch.zeros(len(values)), torch.arange(len(values))], 1).to(torch.int32)
        nothing = torch.zeros(1, 1, dtype=torch.int32)
        block = TensorBlock(values, Labels(["system", "atom"], atoms), [], Labels(["energy"], nothing))
        return {"energy": TensorMap(Labels(["_"], nothing), [block])}


class _Differentiable(torch.autograd.Function):
    """Atomic energies of a compiled file, whose backward pass is its energy weights."""

    @staticmethod
    def forward(ctx, positions, state, potential, types):  # type: ignore[no-untyped-def]
        ctx.given = (state.replace(positions=positions.detach()), potential, types)
        return _Differentiable._values(ctx, None)["atomic_energy"][:, None]

    @staticmethod
    def backward(ctx, seed):  # type: ignore[no-untyped-def]
        return -_Differentiable._values(ctx, seed[:, 0])["forces"], None, None, None

    @staticmethod
    def _values(ctx, weights):  # type: ignore[no-untyped-def]
        state, potential, types = ctx.given
        neighbors = neighbor_list(state, potential.cutoff)
        return potential(state, neighbors, ("atomic_energy", "forces"), atom_types=types, energy_weights=weights)


def metatomic_heat_flux(potential: Potential, state: SimState) -> torch.Tensor:
    """(1, 3) eV A/fs of one system, periodic along all axes and wider than the interaction range."""
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom")},
        atomic_types=sorted(set(state.atomic_numbers.tolist())),
        interaction_range=potential.capabilities.interaction_range,
        length_unit="A",
        supported_devices=["cpu"],
        dtype="float64",
    )
    system = System(
        types=state.atomic_numbers.to(torch.int32), positions=state.positions, cell=state.cell[0], pbc=state.pbc[0]
    )
    atoms = torch.stack([torch.zeros(state.n_atoms), torch.arange(state.n_atoms)], 1).to(torch.int32)
    assert state.velocities is not None
    given = (("mass", state.masses[:, None], []), ("velocity", state.velocities[..., None], ["xyz"]))
    for name, values, axes in given:
        block = TensorBlock(
            values,
            Labels(["system", "atom"], atoms),
            [Labels([axis], torch.arange(3, dtype=torch.int32)[:, None]) for axis in axes],
            Labels([name], torch.zeros(1, 1, dtype=torch.int32)),
        )
        system.add_data(name, TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32)), [block]))
    model = AtomisticModel(_Energies(potential).eval(), ModelMetadata(), capabilities)
    outputs = HeatFlux(model)([system], {"heat_flux": ModelOutput(unit="eV*A/fs")}, None)
    return outputs["heat_flux"].block().values[..., 0]
