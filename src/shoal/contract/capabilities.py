"""What a potential declares about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from shoal.contract.quantities import OWN, Layout, Standard, standard
from shoal.contract.request import SampleKind

Truncation = Literal["smooth", "shift", "none"]
Gradient = Literal["positions", "strain"]


class Support(BaseModel):
    """How a potential serves one quantity of the labelled face.

    sample_kinds: per system, per atom. explicit_gradients: the gradients it can store with the values of each kind.
    selected_atoms: whether values and gradients of some atoms only can be asked for. differentiable: whether the
    values carry the caller's graph, in positions, cell and parameters. layout: the row of a quantity of the potential's
    own, `domain::name`; per system it is the sum over the atoms, where there are values per atom too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_kinds: tuple[SampleKind, ...] = ("system", "atom")
    explicit_gradients: dict[SampleKind, tuple[Gradient, ...]] = {}
    selected_atoms: bool = True
    differentiable: bool = False
    layout: Layout | None = None

    def both(self, other: Support) -> Support:
        """What this and another serve alike."""
        kinds = tuple(kind for kind in self.sample_kinds if kind in other.sample_kinds)
        return Support(
            sample_kinds=kinds,
            explicit_gradients={
                kind: tuple(name for name in own if name in other.explicit_gradients.get(kind, ()))
                for kind, own in self.explicit_gradients.items()
                if kind in kinds
            },
            selected_atoms=self.selected_atoms and other.selected_atoms,
            differentiable=self.differentiable and other.differentiable,
        )


BOTH: dict[SampleKind, tuple[Gradient, ...]] = {"system": ("positions", "strain"), "atom": ("positions", "strain")}


class Capabilities(BaseModel):
    """What a potential can give and what it claims.

    outputs: the native quantities. quantities: the labelled ones, `energy/<name>` variants among them, and how each
    is served.
    interaction_range in A: how far a displaced atom is felt (layers x cutoff for message passing).
    hops: edges between an atom and the farthest that it feels, 1 if strictly local, None if unknown.
    truncation: "smooth" if energy and forces go to zero continuously at the cutoff, "shift" if only the energy
    does, "none" if neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: tuple[str, ...]
    quantities: dict[str, Support] = {}
    atomic_types: tuple[str, ...]
    interaction_range: float
    hops: int | None = None
    length_unit: Literal["A"] = "A"
    energy_unit: Literal["eV"] = "eV"
    dtype: Literal["float32", "float64"] = "float64"
    supported_devices: tuple[str, ...] = ("cpu", "cuda")
    strictly_local: bool = False
    conservative: bool = True
    truncation: Truncation = "smooth"

    def row(self, name: str) -> Standard:
        """The row of a labelled quantity: of the table, or that which a `domain::name` brings along.

        Raises UnsupportedRequestError for a name that has none.
        """
        support = self.quantities.get(name)
        if OWN not in name or support is None or support.layout is None:
            return standard(name)
        base, layout = name.split("/")[0], support.layout
        return Standard(
            base,
            support.sample_kinds,
            layout.components,
            layout.property or base.split(OWN)[-1],
            layout.unit,
            (),
            layout.meaning,
            "the potential that brings it",
            exact=layout.exact,
            properties=layout.properties,
        )

    @staticmethod
    def claims_of(each: Sequence[Capabilities]) -> dict[str, Any]:
        """What may be claimed of several potentials together: of every claim the weakest that one of them makes."""
        hops = [c.hops for c in each if c.hops is not None]
        return {
            "interaction_range": max(c.interaction_range for c in each),
            "hops": max(hops) if len(hops) == len(each) else None,
            "strictly_local": all(c.strictly_local for c in each),
            "conservative": all(c.conservative for c in each),
            "truncation": max((c.truncation for c in each), key=get_args(Truncation).index),
            "dtype": "float32" if any(c.dtype == "float32" for c in each) else "float64",
        }
