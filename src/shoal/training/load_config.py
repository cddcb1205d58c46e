"""From a YAML file and `key=value` overrides to a `TrainConfig`, with errors that name the key and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shoal.architectures import ARCHITECTURES
from shoal.errors import ConfigError
from shoal.training.config import DEFAULT_ARCHITECTURE, ModelConfig, TrainConfig

FILLED_IN = ("type_names",)


def load_config(source: TrainConfig | Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a training configuration: a YAML file, a mapping, or a `TrainConfig`, changed by `key.path=value`.

    Raises ConfigError naming every key that is unknown (with the nearest valid name), missing or wrong.
    """
    name = str(source) if isinstance(source, str | Path) else "configuration"
    if isinstance(source, TrainConfig):
        values = source.model_dump(exclude_unset=True)
    elif isinstance(source, Mapping):
        values = deepcopy(dict(source))
    else:
        values = _read_yaml(Path(source))
    for override in overrides:
        _apply(values, override)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "\n".join(_explain(error, values))) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: no readable YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a training configuration is a mapping of sections, got {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key.path=value`; the value is YAML."""
    import yaml

    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: expected key=value, such as data.batch_size=4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: its value is no YAML: {error}") from None
    section = values
    for depth, key in enumerate(keys[:-1], 1):
        inner = section.get(key)
        if inner is not None and not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {'.'.join(keys[:depth])} is {inner!r}, not a section")
        section[key] = dict(inner or {})
        section = section[key]
    section[keys[-1]] = value


def _explain(error: ValidationError, values: Mapping[str, Any]) -> list[str]:
    """One line a key; the ways in which its value may be given are joined by "or"."""
    lines: list[str] = []
    wrong: dict[str, list[str]] = {}
    got: dict[str, str] = {}
    for item in error.errors():
        path = tuple(str(part) for part in item["loc"] if "[" not in str(part))  # no tags of alternatives
        name = ".".join(path)
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {name}{_suggestion(path, values)}")
        elif item["type"] == "missing":
            lines.append(f"{name} is required")
        else:
            wrong.setdefault(name, []).append(item["msg"].removeprefix("Value error, ").removeprefix("Input "))
            got[name] = "" if item["type"] == "value_error" else f", got {item['input']!r}"
    return lines + [f"{name}: {' or '.join(said)}{got[name]}".removeprefix(": ") for name, said in wrong.items()]


def _suggestion(path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """The nearest valid key: first among its siblings, then anywhere."""
    every = list(_key_paths(TrainConfig, values))
    siblings = [key for key in every if key[:-1] == path[:-1]]
    for candidates in (siblings, every):
        near = difflib.get_close_matches(path[-1], [key[-1] for key in candidates], n=1)
        if near:
            found = next(key for key in candidates if key[-1] == near[0])
            return f"; did you mean {'.'.join(found)}?"
    return f"; here are known: {', '.join(key[-1] for key in siblings)}" if siblings else ""


def _key_paths(section: type[BaseModel], values: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in section.model_fields.items():
        if prefix == ("model",) and name in FILLED_IN:
            continue
        path = (*prefix, name)
        yield path
        if field.annotation is ModelConfig:
            yield (*path, "architecture")
            given = values.get(name) if isinstance(values, Mapping) else None
            chosen = given.get("architecture") if isinstance(given, Mapping) else None
            architecture = ARCHITECTURES.get(str(chosen), ARCHITECTURES[DEFAULT_ARCHITECTURE])
            yield from _key_paths(architecture.config, {}, path)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _key_paths(field.annotation, {}, path)
