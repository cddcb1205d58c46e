"""Whatever a user calls a model, as a subject."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.conformance.calculator_subject import CalculatorSubject
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.subject import Subject, Values
from shoal.devices import as_device
from shoal.engine import BatchCalculator
from shoal.errors import InputError
from shoal.files import model_kind, read_package
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.potentials import Potential, load_potential

if TYPE_CHECKING:
    from ase import Atoms


def subject_of(
    model: Any,
    *,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
    structures: Sequence[Atoms] = (),
) -> Subject:
    """A model file, Potential, BatchCalculator or ASE calculator (or "module:factory" of one) as a subject.

    Raises InputError for anything else and for a device or map where they have no effect, ModelFileError for a file
    that cannot be used.
    """
    name = type(model).__name__
    if isinstance(model, str | Path) and not Path(model).exists() and ":" in str(model):
        name, model = str(model), _made_by(str(model))
        if isinstance(model, str | Path):
            raise InputError(f"{name} made a {type(model).__name__}, which is no model")
    if isinstance(model, str | Path):
        potential = load_potential(model, device)
        subject = PotentialSubject(potential, potential.type_map(chemical_species_to_atom_type_map), Path(model).name)
        if model_kind(model) == "package":
            subject.reference = _reference(Path(model))
        return subject
    if isinstance(model, Potential):
        moved = model if device is None else model.to(as_device(device))
        return PotentialSubject(moved, moved.type_map(chemical_species_to_atom_type_map), name)
    given = {"device": device, "chemical_species_to_atom_type_map": chemical_species_to_atom_type_map}
    unused = [argument for argument, value in given.items() if value is not None]
    if unused:
        raise InputError(f"{name} has its own {' and '.join(unused)}: give them where it is made")
    if isinstance(model, Subject):
        return model
    if isinstance(model, BatchCalculator):
        return PotentialSubject(model.potential, model.type_map, type(model.potential).__name__)
    if hasattr(model, "get_potential_energy") and hasattr(model, "implemented_properties"):
        return CalculatorSubject(model, name, structures)
    raise InputError(f"{name} is no model: give a file, a Potential, a BatchCalculator or an ASE calculator")


def _made_by(name: str) -> Any:
    """What the factory `module:factory` returns; modules in the working folder are found."""
    module, _, factory = name.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), factory)()
    except Exception as error:  # the user's code may raise anything
        raise InputError(
            f"{name}: {type(error).__name__}: {error}; give module:factory, where factory() makes an ASE calculator or "
            "a Potential"
        ) from error
    finally:
        sys.path.remove(here)


def _reference(path: Path) -> list[tuple[Atoms, Values]]:
    """Structures and results that a package carries."""
    from ase import Atoms

    content = read_package(path)
    tensors = content.reference
    state, types = tensors_to_structures(tensors)
    labels = np.array(content.manifest.type_names)[types.numpy()]
    pairs: list[tuple[Atoms, Values]] = []
    for s in range(state.n_systems):
        rows = slice(int(state.offsets[s]), int(state.offsets[s + 1]))
        atoms = Atoms(
            state.atomic_numbers[rows].numpy(),
            state.positions[rows].numpy(),
            cell=state.cell[s].numpy(),
            pbc=state.pbc[s].numpy(),
        )
        atoms.set_array("type_label", labels[rows])
        values = {name: tensors[name][rows if name == "forces" else s].numpy() for name in RESULTS}
        pairs.append((atoms, {key: value for key, value in values.items() if np.isfinite(value).all()}))
    return pairs
