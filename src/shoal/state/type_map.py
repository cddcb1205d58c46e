"""`TypeMap`: chemical species, or a per-atom `type_label`, to a model's atom types.

N atoms, T types.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from shoal.errors import InputError, ShoalWarning, UnsupportedSpeciesError
from shoal.state.sim_state import SimState

SpeciesMap = Mapping[str, str]


@dataclass(frozen=True)
class TypeMap:
    """Which of a model's atom types each atom has.

    `type_names` are the model's own words, in the order of its type indices; `species` maps chemical symbols to
    them and may cover a subset, several symbols may share a type. A non-empty `type_label` of an atom takes
    precedence over its element.
    """

    type_names: tuple[str, ...]
    species: SpeciesMap

    @classmethod
    def from_argument(
        cls,
        type_names: Sequence[str],
        argument: object = None,
        *,
        stored: SpeciesMap | None = None,
    ) -> TypeMap:
        """Read the public argument `chemical_species_to_atom_type_map`.

        None: the map `stored` with the model if there is one, else identity with one warning; True: identity;
        a dict: symbol -> type name. Raises InputError (a ValueError) for anything else, naming both sides and the
        model's types.
        """
        names = tuple(type_names)
        symbols = _chemical_symbols()
        identity = {name: name for name in names if name in symbols}
        if argument is None:
            if stored is not None:
                return cls(names, _checked(stored, names))
            foreign = [name for name in names if name not in symbols]
            warnings.warn(
                "chemical_species_to_atom_type_map was not given: each model type is taken for the chemical element "
                f"of the same name ({_listed(identity) or 'none'})."
                + (f" {_listed(foreign)} are no elements: atoms reach them by type_label only." if foreign else "")
                + " Pass chemical_species_to_atom_type_map=True to say so, or a dict symbol -> type name.",
                ShoalWarning,
                stacklevel=3,
            )
            return cls(names, identity)
        if argument is True:
            foreign = [name for name in names if name not in symbols]
            if foreign:
                raise InputError(
                    f"chemical_species_to_atom_type_map=True needs model types that are chemical symbols; "
                    f"{_listed(foreign)} are not. Pass a dict symbol -> type name; the model's types: {_listed(names)}."
                )
            return cls(names, identity)
        if isinstance(argument, Mapping) and argument:
            return cls(names, _checked(argument, names))
        raise InputError(
            f"chemical_species_to_atom_type_map must be omitted, True, or a dict symbol -> type name, "
            f"got {argument!r}; the model's types: {_listed(names)}."
        )

    @property
    def n_types(self) -> int:
        return len(self.type_names)

    @cached_property
    def of_numbers(self) -> torch.Tensor:
        """(120,) int64: atomic number -> type index, -1 where the model has none and in the last, spare entry."""
        from ase.data import atomic_numbers

        table = torch.full((len(_chemical_symbols()) + 1,), -1, dtype=torch.int64)
        for symbol, name in self.species.items():
            table[atomic_numbers[symbol]] = self.type_names.index(name)
        return table

    def __call__(self, state: SimState) -> torch.Tensor:
        """Atom types (N,) int64 of a state. Raises UnsupportedSpeciesError naming element, system and atom."""
        table = self.of_numbers.to(state.device)
        types = table[state.atomic_numbers.clamp(-1, len(table) - 1)]  # what is no element reads the spare entry
        if state.type_label is not None:
            types = self._apply_labels(state, types)
        if state.n_atoms and int(types.min()) < 0:
            self._refuse(state, int((types < 0).nonzero()[0]))
        return types

    def _apply_labels(self, state: SimState, types: torch.Tensor) -> torch.Tensor:
        labels, inverse = np.unique(np.asarray(state.type_label), return_inverse=True)
        index = {name: k for k, name in enumerate(self.type_names)}
        of_label = np.array([index.get(label, -1) for label in labels.tolist()], dtype=np.int64)
        labelled = torch.as_tensor(np.asarray(state.type_label) != "", device=types.device)
        return torch.where(labelled, torch.as_tensor(of_label[inverse], device=types.device), types)

    def _refuse(self, state: SimState, atom: int) -> None:
        system = int(state.system_index[atom])
        local = atom - int(state.offsets[system])
        number = int(state.atomic_numbers[atom])
        symbols = _chemical_symbols()
        label = "" if state.type_label is None else str(state.type_label[atom])
        if label:
            what = f"type_label {label!r}"
        else:
            what = symbols[number] if 0 <= number < len(symbols) else f"atomic number {number}"
        raise UnsupportedSpeciesError(
            f"{what} (system {int(state.system_id[system])}, atom {local}) is unknown to this model. "
            f"It knows the elements {_listed(self.species) or '(none)'} and the types {_listed(self.type_names)}."
        )


def _checked(mapping: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    symbols = _chemical_symbols()
    for symbol, name in mapping.items():
        if symbol not in symbols:
            near = difflib.get_close_matches(str(symbol), symbols, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(
                f"chemical_species_to_atom_type_map maps {symbol!r} to {name!r}, but {symbol!r} is no chemical "
                f"symbol{hint}; the model's types: {_listed(names)}."
            )
        if name not in names:
            raise InputError(
                f"chemical_species_to_atom_type_map maps {symbol!r} to {name!r}, which is no type of this model; "
                f"its types: {_listed(names)}."
            )
    return dict(mapping)


def _listed(words: object) -> str:
    return ", ".join(map(str, words))  # type: ignore[call-overload]


def _chemical_symbols() -> list[str]:
    from ase.data import chemical_symbols

    return chemical_symbols
