"""Model architectures by name: what a package or a training file may ask for."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from shoal.architectures.allegro import Allegro as Allegro
from shoal.architectures.allegro import AllegroConfig as AllegroConfig
from shoal.architectures.base import ArchitectureConfig as ArchitectureConfig
from shoal.architectures.base import AtomicEnergyModel as AtomicEnergyModel
from shoal.architectures.base import ZBLConfig as ZBLConfig
from shoal.architectures.nequip import NequIP as NequIP
from shoal.architectures.nequip import NequIPConfig as NequIPConfig
from shoal.architectures.tabulated import fix_tables as fix_tables
from shoal.architectures.tabulated import tabulate as tabulate
from shoal.errors import ConfigError


class Architecture(NamedTuple):
    """A configuration and the module built from it."""

    config: type[ArchitectureConfig]
    module: Callable[..., AtomicEnergyModel]


ARCHITECTURES: dict[str, Architecture] = {
    "nequip": Architecture(NequIPConfig, NequIP),
    "allegro": Architecture(AllegroConfig, Allegro),
}


def build(
    name: str, config: Mapping[str, Any], *, convolution: str = "reference", radial_table: int | None = None
) -> AtomicEnergyModel:
    """A fresh module of the named architecture, its convolutions as `shoal.nn.convolution` names them.

    `radial_table`: pieces of the tables that stand for its radial networks. Raises ConfigError naming an unknown
    architecture or a bad field, or for tables of an architecture that has none.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    try:
        model = architecture.module(architecture.config(**config), convolution=convolution)
    except ValidationError as error:
        raise ConfigError(f"configuration of {name!r}: {error}") from None
    if radial_table is not None:
        tabulate(model, radial_table)
    return model
