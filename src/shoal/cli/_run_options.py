"""The options of `shoal relax` and `shoal md`, by flag or from a YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shoal.cli._methods import Said, method
from shoal.cli._show import species_map
from shoal.constraints import Constraint, FixAtoms, FixCenterOfMass
from shoal.dynamics import INTEGRATORS
from shoal.engine import Limits
from shoal.errors import ConfigError
from shoal.relaxation import FILTERS, OPTIMIZERS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def _split(value: Any) -> Any:
    """A flag's text by its commas."""
    return value.split(",") if isinstance(value, str) and "," in value else value


def _listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


PerSystem = Annotated[float | list[float], BeforeValidator(_split)]
"""One number for all systems, or one for each."""


SAME_NAME = ("out", "device", "compile", "skin", "max_atoms", "system_ids", "overwrite", "progress")
"""Options that are called the same in Python."""


class RunOptions(BaseModel):
    """Options that both verbs have, named as the flags; None where the verb's default holds."""

    model_config = ConfigDict(extra="forbid")

    structures: list[str] | str
    model: Path
    out: Path
    map: dict[str, str] | list[str] | Literal["identity"] | None = None
    device: str | None = None
    fix_atoms: Annotated[list[int] | None, BeforeValidator(_listed)] = None
    fix_com: bool | None = None
    compile: Literal["auto"] | bool | None = None
    skin: float | None = None
    max_atoms: int | None = None
    max_move: float | None = None
    max_force: float | None = None
    system_ids: Annotated[list[int] | None, BeforeValidator(_listed)] = None
    overwrite: bool | None = None
    progress: bool | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of the verb in Python, without what is left to its defaults. Raises InputError."""
        return {key: value for key, value in self.chosen().items() if value is not None}

    def chosen(self) -> dict[str, Any]:
        """By the names of the arguments, but for the structures."""
        constraints: list[Constraint] = [FixCenterOfMass()] if self.fix_com else []
        if self.fix_atoms is not None:
            constraints.append(FixAtoms(tuple(self.fix_atoms)))
        limits = {key: getattr(self, key) for key in ("max_move", "max_force") if getattr(self, key) is not None}
        return {
            "potential": self.model,
            "constraints": constraints,
            "limits": Limits(**limits) if limits else None,
            "chemical_species_to_atom_type_map": self.species_map(),
            "errors": "status",
            **{key: getattr(self, key) for key in SAME_NAME},
        }

    def species_map(self) -> dict[str, str] | bool | None:
        if isinstance(self.map, dict):
            return self.map
        return species_map([self.map] if isinstance(self.map, str) else self.map)


class RelaxOptions(RunOptions):
    """Options of `shoal relax`."""

    optimizer: Said | None = None
    cell: Said | None = None
    fmax: PerSystem | None = None
    stress_max: PerSystem | None = None
    max_steps: int | None = None

    def chosen(self) -> dict[str, Any]:
        filters = {name: kind for name, kind in FILTERS.items() if name is not None}
        return {
            **super().chosen(),
            "optimizer": _method(self.optimizer, _by_name(OPTIMIZERS), "optimizer", without=("cell",)),
            "cell": _method(self.cell, {**_by_name(filters.values()), **filters}, "cell"),
            **{key: getattr(self, key) for key in ("fmax", "stress_max", "max_steps")},
        }


class MDOptions(RunOptions):
    """Options of `shoal md`."""

    integrator: Said | None = None
    timestep: PerSystem | None = None
    n_steps: int | None = None
    temperature: PerSystem | None = None
    seed: int | None = None

    def chosen(self) -> dict[str, Any]:
        return {
            **super().chosen(),
            "integrator": _method(self.integrator, _by_name(INTEGRATORS), "integrator"),
            **{key: getattr(self, key) for key in ("timestep", "n_steps", "temperature", "seed")},
        }


Options = TypeVar("Options", bound=RunOptions)


def options(kind: type[Options], flags: Mapping[str, Any]) -> Options:
    """The options of the YAML file that `config` names, if it does, and before them the flags that were given.

    Raises ConfigError naming every key that is unknown (with the nearest valid name), missing or wrong.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    config = given.pop("config", None)
    values = {} if config is None else _read_yaml(config)
    try:
        return kind.model_validate({**values, **given})
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(error.errors(), kind, config, set(given)))) from None


def _by_name(kinds: Iterable[type]) -> dict[str, type]:
    return {kind.__name__: kind for kind in kinds}


def _method(said: Said | None, kinds: Mapping[str, type], option: str, without: tuple[str, ...] = ()) -> Any:
    return None if said is None else method(said, kinds, option, without)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: no readable YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: options are a mapping of names and values, got {type(values).__name__}")
    return values


def _explain(errors: Iterable[ErrorDetails], kind: type[RunOptions], config: Path | None, flags: set[str]) -> list[str]:
    """One sentence a key; the ways in which its value may be given are joined by "or"."""
    lines: list[str] = []
    wrong: dict[str, list[str]] = {}
    got: dict[str, Any] = {}
    for item in errors:
        name = str(item["loc"][0])
        if item["type"] == "missing":
            flag = "STRUCTURES" if name == "structures" else f"--{name}"
            lines.append(f"{flag} is missing; give it here, or as {name}: in the file of --config")
        elif item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, list(kind.model_fields), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kind.model_fields)}"
            lines.append(f"{config}: unknown key {name}; {hint}")
        else:
            wrong.setdefault(name, []).append(item["msg"].removeprefix("Input "))
            got.setdefault(name, item["input"])
    for name, said in wrong.items():
        where = f"--{name.replace('_', '-')}" if name in flags else f"{config}: {name}"
        lines.append(f"{where} {' or '.join(dict.fromkeys(said))}, got {got[name]!r}")
    return lines
