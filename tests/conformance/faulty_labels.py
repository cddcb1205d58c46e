"""Potentials whose labelled outputs are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from tests.conformance.faulty_values import Sound, Values

from shoal.contract import Capabilities, Layout, OutputRequest, Support, unit_factor
from shoal.errors import InputError, UnsupportedRequestError
from shoal.neighbors import NeighborList
from shoal.potentials import Potential
from shoal.state import SimState

Change = Callable[[TensorBlock, OutputRequest], TensorBlock]


def relabelling(change: Change, base: type[Sound] = Sound) -> Callable[[], Potential]:
    """A potential whose labelled energies go through `change`."""

    class Relabelled(base):  # type: ignore[misc,valid-type]
        def outputs(self, state: SimState, requests: Mapping[str, OutputRequest], *more: Any, **named: Any) -> dict:
            made = super().outputs(state, requests, *more, **named)
            return {
                name: TensorMap(Labels(["_"], torch.tensor([[0]])), [change(output.block(0).copy(), requests[name])])
                for name, output in made.items()
            }

    return Relabelled


def rebuilt(
    block: TensorBlock,
    *,
    values: torch.Tensor | None = None,
    samples: Labels | None = None,
    properties: Labels | None = None,
    gradients: Mapping[str, tuple[torch.Tensor, Labels]] | None = None,
) -> TensorBlock:
    """A block with some parts replaced."""
    values = block.values if values is None else values
    properties = block.properties if properties is None else properties
    made = TensorBlock(values, block.samples if samples is None else samples, block.components, properties)
    own = {name: (gradient.values, gradient.samples) for name, gradient in block.gradients()}
    for name, (derivatives, rows) in (own if gradients is None else gradients).items():
        components = block.gradient(name).components
        made.add_gradient(name, TensorBlock(derivatives, rows, components, properties))
    return made


def reversed_rows(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    if len(block.samples) < 2:
        return block
    last = len(block.samples) - 1
    samples = Labels(block.samples.names, block.samples.values.flip(0))
    gradients = {}
    for name, gradient in block.gradients():
        rows = gradient.samples.values.clone()
        rows[:, 0] = last - rows[:, 0]
        order = sorted(range(len(rows)), key=lambda k: rows[k].tolist())
        gradients[name] = (gradient.values[order], Labels(gradient.samples.names, rows[order]))
    return rebuilt(block, values=block.values.flip(0), samples=samples, gradients=gradients)


def without_last_row(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    n = len(block.samples) - 1
    if n < 1:
        return block
    gradients = {}
    for name, gradient in block.gradients():
        kept = gradient.samples.values[:, 0] < n
        gradients[name] = (gradient.values[kept], Labels(gradient.samples.names, gradient.samples.values[kept]))
    samples = Labels(block.samples.names, block.samples.values[:n])
    return rebuilt(block, values=block.values[:n], samples=samples, gradients=gradients)


def atom_77(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    if request.sample_kind == "system" or not len(block.samples):
        return block
    rows = block.samples.values.clone()
    rows[-1, 1] = 77
    return rebuilt(block, samples=Labels(block.samples.names, rows))


def swapped_in_batches(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    """In a batch every atom's gradient is in the row of the next."""
    own = {name: (gradient.values, gradient.samples) for name, gradient in block.gradients()}
    if "positions" not in own or request.sample_kind == "atom" or len(block.samples) < 2:
        return block
    own["positions"] = (own["positions"][0].roll(1, 0), own["positions"][1])
    return rebuilt(block, gradients=own)


def without_gradients(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, gradients={})


def other_property(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, properties=Labels(["energies"], torch.tensor([[0]])))


def transposed_strain(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    own = {name: (gradient.values, gradient.samples) for name, gradient in block.gradients()}
    if "strain" in own:
        own["strain"] = (own["strain"][0].transpose(1, 2).contiguous(), own["strain"][1])
    return rebuilt(block, gradients=own)


def own_rows_only(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    """Gradients in the selected atoms alone: those of the others are left out."""
    if "positions" not in block.gradients_list() or request.sample_kind == "system":
        return block
    own = {name: (gradient.values, gradient.samples) for name, gradient in block.gradients()}
    rows = own["positions"][1].values
    atoms = set(map(tuple, block.samples.values.tolist()))
    kept = torch.tensor([tuple(row) in atoms for row in rows[:, 1:].tolist()], dtype=torch.bool)
    own["positions"] = (own["positions"][0][kept], Labels(block.gradient("positions").samples.names, rows[kept]))
    return rebuilt(block, gradients=own)


def nan_values(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, values=torch.full_like(block.values, float("nan")))


def detached(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, values=block.values.detach())


def opposite_gradients(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, gradients={name: (-one.values, one.samples) for name, one in block.gradients()})


def unconverted_gradients(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    factor = unit_factor("eV", request.unit or "eV")
    return rebuilt(block, gradients={name: (one.values / factor, one.samples) for name, one in block.gradients()})


def without_axes(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    """A column for each component."""
    columns = Labels(["dipole"], torch.arange(3)[:, None])
    return TensorBlock(block.values[..., 0], block.samples, [], columns)


def larger_per_atom(block: TensorBlock, request: OutputRequest) -> TensorBlock:
    return rebuilt(block, values=block.values * (1 + 1e-6)) if request.sample_kind == "atom" else block


def of_a_variant(change: Change) -> Callable[[], Potential]:
    """A potential with a variant, the same but that its labelled energies go through `change`."""
    return _with("energy/other", change)


def of_its_own(change: Change) -> Callable[[], Potential]:
    """A potential with a vector for each atom that no standard knows; its labels go through `change`."""
    return _with("mine::dipole", change, Support(layout=Layout("e*A", ("xyz",))))


def _with(added: str, change: Change, support: Support | None = None) -> Callable[[], Potential]:
    """One more quantity, served as the energy is unless `support` says how."""

    class WithAnother(Sound):
        @property
        def capabilities(self) -> Capabilities:
            own = super().capabilities
            return own.model_copy(update={"quantities": {**own.quantities, added: support or own.quantities["energy"]}})

        def spoil(self, values: Values, state: SimState, neighbors: NeighborList) -> Values:
            return {**values, added: values["forces"].abs()}

        def outputs(self, state: SimState, requests: Mapping[str, OutputRequest], *more: Any, **named: Any) -> dict:
            made = super().outputs(state, requests, *more, **named)
            return {
                name: TensorMap(output.keys, [change(output.block(0).copy(), requests[name])])
                if name == added
                else output
                for name, output in made.items()
            }

    return WithAnother


class RefusesWithAnotherError(Sound):
    """Says of what it does not serve that the input is wrong."""

    def outputs(self, *arguments: Any, **named: Any) -> dict[str, TensorMap]:
        try:
            return super().outputs(*arguments, **named)
        except UnsupportedRequestError as error:
            raise InputError(str(error)) from None


class AnswersAnything(Sound):
    """Gives the energy whatever the gradient or the quantity that is asked for."""

    def outputs(self, state: SimState, requests: Any, *more: Any, **named: Any) -> dict[str, TensorMap]:
        made = {}
        for name, request in requests.items():
            kept = tuple(gradient for gradient in request.explicit_gradients if gradient in ("positions", "strain"))
            known = name if name in self.capabilities.quantities else "energy"
            asked = OutputRequest(request.unit, request.sample_kind, kept, request.length_unit)
            made[name] = super().outputs(state, {known: asked}, *more, **named)[known]
        return made


class IgnoresSelection(Sound):
    """Gives all atoms whatever was selected."""

    def outputs(self, state: SimState, requests: Any, selected_atoms: Any = None, **named: Any) -> dict[str, TensorMap]:
        return super().outputs(state, requests, None, **named)


class ConvertsValuesOnly(Sound):
    """Converts energies to the unit requested, and leaves their gradients."""

    def outputs(self, state: SimState, requests: Any, *more: Any, **named: Any) -> dict[str, TensorMap]:
        wanted = super().outputs(state, requests, *more, **named)
        own_units = {n: OutputRequest("", r.sample_kind, r.explicit_gradients) for n, r in requests.items()}
        plain = super().outputs(state, own_units, *more, **named)
        return {
            name: TensorMap(output.keys, [rebuilt(plain[name].block(0), values=output.block(0).values)])
            for name, output in wanted.items()
        }


class ConvertsInPlace(Sound):
    """Keeps its last answer and converts it again where it lies."""

    kept: TensorMap | None = None
    key: object = None

    def outputs(self, state: SimState, requests: Any, *more: Any, **named: Any) -> dict[str, TensorMap]:
        ((name, request),) = requests.items()
        if state.positions.requires_grad or not state.n_atoms or not request.unit:
            self.kept = None
            return super().outputs(state, requests, *more, **named)
        key = (state.n_atoms, request.sample_kind, request.explicit_gradients)
        made = super().outputs(state, requests, *more, **named)
        if self.kept is None or self.key != key:
            self.kept, self.key = made[name], key
            return made
        own = {name: OutputRequest("", request.sample_kind, request.explicit_gradients)}
        factor = (
            made[name].block(0).values.sum() / super().outputs(state, own, *more, **named)[name].block(0).values.sum()
        )
        block = self.kept.block(0)
        block.values.mul_(factor)
        for _, gradient in block.gradients():
            gradient.values.mul_(factor)
        return {name: self.kept}


class Ensemble(Sound):
    """Three members, each a part of the energy more or less, and the uncertainty that follows from them."""

    offset, sign = 0.0, 1.0

    @property
    def capabilities(self) -> Capabilities:
        support = Support()
        more = {"energy_ensemble": support, "energy_uncertainty": support}
        own = super().capabilities
        return own.model_copy(update={"quantities": {**own.quantities, **more}})

    def outputs(
        self, state: SimState, requests: Mapping[str, OutputRequest], *more: Any, **named: Any
    ) -> dict[str, TensorMap]:
        made = {}
        for name, request in requests.items():
            if not name.startswith("energy_"):
                made |= super().outputs(state, {name: request}, *more, **named)
                continue
            if request.explicit_gradients:
                raise UnsupportedRequestError(f"no gradients of {name}")
            block = super().outputs(state, {"energy": request}, *more, **named)["energy"].block(0)
            if name == "energy_ensemble":
                members = torch.cat([block.values * (1 + 0.01 * k + self.offset) for k in (-1, 0, 1)], dim=1)
                labels = Labels(["energy"], torch.arange(3)[:, None])
                block = TensorBlock(members, block.samples, block.components, labels)
            else:
                block = rebuilt(block, values=self.sign * 0.01 * block.values.abs())
            made[name] = TensorMap(Labels(["_"], torch.tensor([[0]])), [block.copy()])
        return made


class NegativeUncertainty(Ensemble):
    sign = -1.0


class OtherMean(Ensemble):
    offset = 1e-3
