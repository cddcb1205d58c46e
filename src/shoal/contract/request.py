"""What is asked of one labelled quantity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Literal, get_args

from shoal.errors import InputError

SampleKind = Literal["system", "atom"]


@dataclass(frozen=True)
class OutputRequest:
    """One quantity per system or per atom, in a unit, with the gradients that are to be stored with its values.

    `unit`: an expression such as `kJ/mol` (see `shoal.contract.unit_factor`), empty for Shoal's own. `length_unit`:
    positions gradients come in `unit` per `length_unit`. `explicit_gradients`: "positions", "strain" or both, in the
    order given. `per_atom` is the older spelling of `sample_kind`. Raises InputError.
    """

    unit: str = ""
    sample_kind: SampleKind = "system"
    explicit_gradients: tuple[str, ...] = ()
    length_unit: str = "A"
    per_atom: InitVar[bool | None] = None

    def __post_init__(self, per_atom: bool | None) -> None:
        if per_atom is not None:
            object.__setattr__(self, "sample_kind", "atom" if per_atom else "system")
        if self.sample_kind not in get_args(SampleKind):
            raise InputError(f"sample_kind is 'system' or 'atom', got {self.sample_kind!r}")
        if isinstance(self.explicit_gradients, str):
            raise InputError(f"explicit_gradients is a list of names, got the word {self.explicit_gradients!r}")
        object.__setattr__(self, "explicit_gradients", tuple(dict.fromkeys(self.explicit_gradients)))


Requests = Mapping[str, OutputRequest]
