"""From a checkpoint or package of nequip to a `.shoal` package with nequip's own numbers as its reference."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from shoal.architectures import ARCHITECTURES
from shoal.deploy import package_potential
from shoal.deploy.prove import compare_with_reference
from shoal.errors import InputError, MissingDependencyError, ModelFileError
from shoal.files import ArchitectureSpec, file_sha256
from shoal.files.archive import whole_archive
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.integrations.nequip import allegro_weights, weights
from shoal.integrations.nequip.settings import architecture_of
from shoal.potentials import LearnedPotential

ENDINGS = (".ckpt", ".nequip.zip")
_TO_OURS = {"nequip": weights.to_ours, "allegro": allegro_weights.to_ours}


def import_nequip(
    model: str | Path,
    out: str | Path,
    *,
    trust: bool = False,
    chemical_species_to_atom_type_map: Mapping[str, str] | bool | None = None,
) -> dict[str, float]:
    """Convert a NequIP or Allegro model (`.ckpt`, `.nequip.zip`) of nequip to a `.shoal` package.

    Weights are those that nequip evaluates with: averaged ones where it averages. Both programs compute the same
    structures; nequip's energies, forces and stresses go into the package, and the largest differences are returned
    (energy eV/atom, forces eV/A, stress eV/A^3). `chemical_species_to_atom_type_map`: True for identity or a dict, by
    default as the model was trained.

    `trust=True` says that the file may run code, which opening it does. nequip must be installed here; it runs in a
    process of its own. Raises InputError without `trust`, MissingDependencyError without nequip, ModelFileError for a
    file that it cannot read, a model that has no equal here, or results that differ.
    """
    model, out = Path(model), Path(out)
    _check_request(model, out, trust)
    with tempfile.TemporaryDirectory(prefix="shoal-nequip-") as folder:
        _run_nequip(model, Path(folder))
        content, flat, reference = _read(Path(folder))
    spec = _in_full(architecture_of(content["model"]), model)
    species = _species(chemical_species_to_atom_type_map, content)
    potential = LearnedPotential(spec, species_map=species)
    potential.model.load_state_dict(_TO_OURS[spec.name](flat, potential.model.config))  # type: ignore[operator]
    structures, types = tensors_to_structures(reference)
    differences = compare_with_reference(potential, reference, f"{model}: the imported model is not nequip's")
    package_potential(
        potential,
        out,
        structures,
        types,
        results={name: reference[name] for name in RESULTS},
        statistics=_statistics(potential),
        provenance={
            "imported_from": model.name,
            "imported_sha256": file_sha256(model),
            "reference_results_by": "nequip",
            "versions": content["versions"],
            "differences_to_nequip": differences,
        },
    )
    return differences


def _in_full(spec: ArchitectureSpec, model: Path) -> ArchitectureSpec:
    """With every setting, so that the package does not depend on what a default or preset is later."""
    try:
        config = ARCHITECTURES[spec.name].config(**spec.config)
    except ValueError as error:
        raise ModelFileError(f"{model}: its configuration has no equal here: {error}") from None
    return ArchitectureSpec(name=spec.name, config=config.model_dump(mode="json"))


def _check_request(model: Path, out: Path, trust: bool) -> None:
    if not model.is_file():
        raise ModelFileError(f"{model}: no such file")
    if model.name.endswith((".nequip.pt2", ".nequip.pth")):
        raise ModelFileError(
            f"{model} is compiled; import-nequip takes the model it was made from ({' or '.join(ENDINGS)}). "
            "A file compiled with --target batch needs no import: shoal.load opens it as it is"
        )
    if not model.name.endswith(ENDINGS):
        raise ModelFileError(f"{model}: import-nequip takes {' and '.join(f'*{ending}' for ending in ENDINGS)}")
    if out.suffix != ".shoal":
        raise ModelFileError(f"{out}: a package's name ends in .shoal")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    if not trust:
        raise InputError(
            f"opening {model} runs code that is in it. If you trust its source, say so: --trust (trust=True in Python)"
        )
    if find_spec("nequip") is None:
        raise MissingDependencyError(
            "import-nequip opens the file with nequip, which is not installed here: pip install nequip "
            "(and nequip-allegro for an Allegro model)"
        )
    with whole_archive(model, "model of nequip", "copy it anew"):
        pass


def _run_nequip(model: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "shoal.integrations.nequip.upstream", str(model.resolve()), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "No module named 'allegro'" in done.stderr or "module 'allegro' is installed" in done.stderr:
            raise MissingDependencyError(f"{model} is an Allegro model: pip install nequip-allegro")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1].removeprefix("ModelFileError: ") if lines else "no message"
        raise ModelFileError(f"{model}: nequip cannot open it or it has no equal here: {last}")


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    content = json.loads((folder / "model.json").read_text())
    return content, load_file(folder / "weights.safetensors"), load_file(folder / "reference.safetensors")


def _species(argument: Mapping[str, str] | bool | None, content: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The map to store, checked; None where neither the model nor the caller says anything."""
    from shoal.state import TypeMap

    stored = content["chemical_species_to_atom_type_map"]
    if argument is None and stored is None:
        return None
    return TypeMap.from_argument(content["type_names"], argument, stored=stored).species


def _statistics(potential: LearnedPotential) -> dict[str, Any]:
    """What a training here takes from its data, as far as the model holds it."""
    config, names = potential.model.config, potential.type_names

    def by_name(values: Any) -> dict[str, float]:
        return dict(zip(names, values, strict=True))

    return {
        "mean_neighbors": by_name(config.neighbors_by_type),
        "energy_scales": by_name(potential.model.scale_shift.scales.tolist()),
        "energy_shifts": by_name(potential.model.scale_shift.shifts.tolist()),
    }
