"""Model architectures by name: what a package or a training file may ask for."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from torch import nn

from shoal.architectures.nequip import NequIP as NequIP
from shoal.architectures.nequip import NequIPConfig as NequIPConfig
from shoal.errors import ConfigError


class Architecture(NamedTuple):
    """A configuration and the module built from it."""

    config: type[BaseModel]
    module: type[nn.Module]


ARCHITECTURES: dict[str, Architecture] = {"nequip": Architecture(NequIPConfig, NequIP)}


def build(name: str, config: Mapping[str, Any], *, convolution: str = "reference") -> nn.Module:
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
