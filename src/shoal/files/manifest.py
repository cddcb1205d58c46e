"""What a package says about the model it holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shoal.contract import Capabilities

SCHEMA = 1
WEIGHTS = "weights.safetensors"
REFERENCE = "reference.safetensors"


class ArchitectureSpec(BaseModel):
    """The name of an architecture and the configuration it is built from.

    `radial_table`: pieces of the tables it was trained with in place of its radial networks; None: the networks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: dict[str, Any]
    radial_table: int | None = Field(None, ge=1)


class Manifest(BaseModel):
    """`manifest.json` of a package; `members` holds the sha256 of every other file in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shoal_schema: Literal[1] = 1
    architecture: ArchitectureSpec
    capabilities: Capabilities
    type_names: tuple[str, ...]
    chemical_species_to_atom_type_map: dict[str, str] | None = None
    cutoff: float = Field(gt=0)
    units: dict[str, str] = {"length": "A", "energy": "eV", "forces": "eV/A", "stress": "eV/A^3"}
    statistics: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    members: dict[str, str] = {}
