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
from shoal.errors import ConfigError


class Architecture(NamedTuple):
    """A configuration and the module built from it."""

    config: type[ArchitectureConfig]
    module: Callable[..., AtomicEnergyModel]


ARCHITECTURES: dict[str, Architecture] = {
    "nequip": Architecture(NequIPConfig, NequIP),
    "allegro": Architecture(AllegroConfig, Allegro),
}


def build(name: str, config: Mapping[str, Any], *, convolution: str = "reference") -> AtomicEnergyModel:
    """A fresh module of the named architecture, its convolutions as `shoal.nn.convolution` names them.

    Raises ConfigError naming an unknown architecture or a bad field.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    try:
        return architecture.module(architecture.config(**config), convolution=convolution)
    except ValidationError as error:
        raise ConfigError(f"configuration of {name!r}: {error}") from None
