"""What a potential declares about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Truncation = Literal["smooth", "shift", "none"]


class Capabilities(BaseModel):
    """What a potential can give and what it claims.

    interaction_range in A: how far a displaced atom is felt (layers x cutoff for message passing).
    truncation: "smooth" if energy and forces go to zero continuously at the cutoff, "shift" if only the energy
    does, "none" if neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: tuple[str, ...]
    atomic_types: tuple[str, ...]
    interaction_range: float
    length_unit: Literal["A"] = "A"
    energy_unit: Literal["eV"] = "eV"
    dtype: Literal["float32", "float64"] = "float64"
    supported_devices: tuple[str, ...] = ("cpu", "cuda")
    strictly_local: bool = False
    conservative: bool = True
    truncation: Truncation = "smooth"
