"""Potentials whose values are right and whose manners are not: what a call does beside its answer.

N atoms.
"""

from __future__ import annotations

from typing import Any

import torch
from metatensor.torch import TensorMap
from tests.conformance.faulty_labels import rebuilt
from tests.conformance.faulty_values import Sound, Values

from shoal.neighbors import NeighborList
from shoal.state import SimState, TypeMap


class SharedBuffer(Sound):
    """Results are written into memory that the next call uses again."""

    kept: Values | None = None

    def forward(self, *arguments: Any, **more: Any) -> Values:
        values = super().forward(*arguments, **more)
        if self.kept is None or any(
            self.kept[name].shape != value.shape for name, value in values.items() if name in self.kept
        ):
            self.kept = {}
        for name, value in values.items():
            self.kept.setdefault(name, torch.empty_like(value)).copy_(value)
        return {name: self.kept[name] for name in values}


class Noisy(Sound):
    """Its own random numbers, new at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def spoil(self, values: Values, *_: Any) -> Values:
        noise = torch.randn(values["forces"].shape, generator=self.generator, dtype=torch.float64)
        return {**values, "forces": values["forces"] + 1e-10 * noise}


class Ageing(Sound):
    """Every call changes the parameters a little."""

    def spoil(self, values: Values, *_: Any) -> Values:
        self.epsilon *= 1 + 1e-5
        return values


class Seeding(Sound):
    """Seeds the process's generator at each call."""

    def forward(self, *arguments: Any, **more: Any) -> Values:
        torch.manual_seed(0)
        return super().forward(*arguments, **more)


class SwitchesGradients(Sound):
    """Leaves gradients switched on or off as it likes them."""

    def forward(self, *arguments: Any, **more: Any) -> Values:
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return super().forward(*arguments, **more)


class Wrapping(Sound):
    """Wraps the caller's own positions into the cell."""

    def forward(self, state: SimState, *arguments: Any, **more: Any) -> Values:
        values = super().forward(state, *arguments, **more)
        state.positions.sub_(1e-9 * state.positions.sign())
        return values


class ReadsMemory(Sound):
    """Takes positions for contiguous."""

    def forward(self, state: SimState, *arguments: Any, **more: Any) -> Values:
        seen = torch.as_strided(state.positions, state.positions.shape, (3, 1))
        return super().forward(state.replace(positions=seen.clone()), *arguments, **more)


class SinglePrecision(Sound):
    """Gives energies in the precision of the state."""

    def forward(self, state: SimState, *arguments: Any, **more: Any) -> Values:
        return {name: value.to(state.dtype) for name, value in super().forward(state, *arguments, **more).items()}


class UsesWholeList(Sound):
    """Takes every pair of the list for a neighbour, those in the skin too."""

    def spoil(self, values: Values, *_: Any) -> Values:
        return {**values, "energy": values["energy"] + 1e-6 * self.n_edges}

    def forward(self, state: SimState, neighbors: NeighborList, *arguments: Any, **more: Any) -> Values:
        self.n_edges = neighbors.n_edges if neighbors.skin else 0
        return super().forward(state, neighbors, *arguments, **more)


class TakesEverything(Sound):
    """Every element is the first type."""

    def type_map(self, argument: object = None) -> TypeMap:
        from ase.data import chemical_symbols

        class Any_(TypeMap):
            def __call__(self, state: SimState) -> torch.Tensor:
                return (state.atomic_numbers == 36).to(torch.int64)

        known = super().type_map(argument)
        assert len(chemical_symbols) > 100
        return Any_(known.type_names, known.species)


class Mumbles(TakesEverything):
    """Refuses foreign elements without saying which."""

    def type_map(self, argument: object = None) -> TypeMap:
        class Mumbling(TypeMap):
            def __call__(self, state: SimState) -> torch.Tensor:
                if not torch.isin(state.atomic_numbers, torch.tensor([18, 36])).all():
                    raise RuntimeError("index out of range")
                return (state.atomic_numbers == 36).to(torch.int64)

        known = Sound.type_map(self, argument)
        return Mumbling(known.type_names, known.species)


class LabelledBuffer(Sound):
    """Writes labelled energies into memory that the next call uses again."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[torch.Size, torch.Tensor] = {}

    def outputs(self, *arguments: Any, **named: Any) -> dict[str, TensorMap]:
        made = {}
        for name, output in super().outputs(*arguments, **named).items():
            values = output.block(0).values.detach()
            kept = self.kept.setdefault(values.shape, torch.empty_like(values)).copy_(values)
            made[name] = TensorMap(output.keys, [rebuilt(output.block(0), values=kept)])
        return made


class LabelledWrapping(Sound):
    """Wraps the caller's own positions into the cell when it is asked for labelled outputs."""

    def outputs(self, state: SimState, *arguments: Any, **named: Any) -> dict[str, TensorMap]:
        made = super().outputs(state, *arguments, **named)
        if not state.positions.requires_grad:
            state.positions.sub_(1e-9 * state.positions.sign())
        return made


class LabelledReadsMemory(Sound):
    """Takes positions for contiguous when it is asked for labelled outputs."""

    def outputs(self, state: SimState, *arguments: Any, **named: Any) -> dict[str, TensorMap]:
        seen = torch.as_strided(state.positions, state.positions.shape, (3, 1))
        return super().outputs(state.replace(positions=seen.clone()), *arguments, **named)


class LacksStress(Sound):
    """Declares a stress and has none."""

    def spoil(self, values: Values, *_: Any) -> Values:
        return {name: value for name, value in values.items() if name != "stress"}


class DropsRow(Sound):
    """Has no force for the last atom."""

    def spoil(self, values: Values, *_: Any) -> Values:
        return {**values, "forces": values["forces"][:-1]}


class CutOff(Sound):
    """Cuts the energy off and declares that it fades away."""

    def __init__(self) -> None:
        super().__init__("none")
        self.truncation = "smooth"
