"""Methods by name: `Langevin(temperature=500, friction=0.02)` as text, or the same as a mapping of a YAML file."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from shoal.errors import InputError

Said = str | Mapping[str, Any]


def method(said: Said, kinds: Mapping[str, type], option: str, without: tuple[str, ...] = ()) -> Any:
    """The method that an option names, with the parameters given there.

    `said`: a name, a name with parameters as in Python, or a mapping of `name` and parameters. `kinds`: name -> frozen
    dataclass; case, dashes and underscores do not matter. `without`: parameters that are given otherwise. A mapping
    as a value is a temperature ramp. Raises InputError with the nearest name that there is.
    """
    name, given = _read(said, option)
    known = {_plain(kind): kind for kind in kinds}
    if _plain(name) not in known:
        raise InputError(f"{option}: there is no {name!r}{_nearest(name, list(kinds))}")
    kind = kinds[known[_plain(name)]]
    allowed = [f.name for f in fields(kind) if f.init and f.name not in without]
    for key in given:
        if key not in allowed:
            raise InputError(f"{option}: {kind.__name__} has no parameter {key!r}{_nearest(key, allowed)}")
    try:
        return kind(**{key: _value(value, f"{option}.{key}") for key, value in given.items()})
    except TypeError as error:
        raise InputError(f"{option}: {kind.__name__} with {given}: {error}") from None


def _plain(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()


def _nearest(name: str, among: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [word.lower() for word in among], n=1)
    chosen = [word for word in among if near and word.lower() == near[0]]
    return f"; did you mean {chosen[0]}?" if chosen else f"; there are {', '.join(among)}" if among else ""


def _read(said: Said, option: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(said, Mapping):
        given = dict(said)
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f"{option}: a mapping needs a name, such as {{name: ...}}; got {dict(said)}")
        return name, given
    found = re.fullmatch(r"\s*([\w-]+)\s*(\(.*\))?\s*", said, re.DOTALL)
    try:
        if found is None:
            raise ValueError
        return found[1], _keywords(f"_{found[2] or '()'}")
    except (ValueError, SyntaxError):
        raise InputError(
            f"{option} takes a name, with parameters as NAME(parameter=number, ...) where wanted; got {said!r}"
        ) from None


def _keywords(call: str) -> dict[str, Any]:
    """The keyword arguments of a call, which are literals or ramps. Raises ValueError and SyntaxError."""
    node = ast.parse(call, mode="eval").body
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError
    return {_named(keyword): _literal(keyword.value) for keyword in node.keywords}


def _named(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError
    return keyword.arg


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Ramp":
        places = dict(zip(("start", "end", "n_steps"), map(_literal, node.args), strict=False))
        return {**places, **{_named(keyword): _literal(keyword.value) for keyword in node.keywords}}
    return ast.literal_eval(node)


def _value(value: Any, where: str) -> Any:
    from shoal.dynamics import Ramp

    if isinstance(value, list):
        return tuple(tuple(row) if isinstance(row, list) else row for row in value)
    if isinstance(value, Mapping):
        return method({"name": "Ramp", **value}, {"Ramp": Ramp}, where)
    return value
