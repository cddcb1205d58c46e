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

    Raises InputError for anything else, ModelFileError for a file that cannot be used.
    """
    if isinstance(model, Subject):
        return model
    if isinstance(model, str | Path) and not Path(model).exists() and ":" in str(model):
        return CalculatorSubject(_made_by(str(model)), str(model), structures)
    if isinstance(model, BatchCalculator):
        return PotentialSubject(model.potential, model.type_map, type(model.potential).__name__)
    if isinstance(model, Potential):
        moved = model if device is None else model.to(as_device(device))
        return PotentialSubject(moved, moved.type_map(chemical_species_to_atom_type_map), type(model).__name__)
    if isinstance(model, str | Path):
        potential = load_potential(model, device)
        subject = PotentialSubject(potential, potential.type_map(chemical_species_to_atom_type_map), Path(model).name)
        if model_kind(model) == "package":
            subject.reference = _reference(Path(model))
        return subject
    if hasattr(model, "get_potential_energy") and hasattr(model, "implemented_properties"):
        return CalculatorSubject(model, type(model).__name__, structures)
    raise InputError(f"a {type(model).__name__} is no model: give a file, a Potential, or an ASE calculator")


def _made_by(name: str) -> Any:
    """What the factory `module:factory` returns; modules in the working folder are found."""
    module, _, factory = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{name}: {error}; give module:factory, where factory() is an ASE calculator") from error
    finally:
        sys.path.remove(os.getcwd())
    calculator = make()
    if not hasattr(calculator, "get_potential_energy"):
        raise InputError(f"{name} made a {type(calculator).__name__}, which is no ASE calculator")
    return calculator


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
