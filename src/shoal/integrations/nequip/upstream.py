"""nequip at work, in a process of its own: `python -m shoal.integrations.nequip.upstream MODEL FOLDER`.

Opening its files runs code from them, and nequip sets the default dtype, seeds and more of the process it is in. Into
FOLDER go model.json (configuration, type names, versions), weights.safetensors (every tensor under its bare name) and
reference.safetensors (structures with the energies, forces and stresses that nequip gives them).

N atoms, S systems.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from shoal.errors import ModelFileError
from shoal.files.reference import structures_to_tensors
from shoal.integrations.nequip.settings import species_map
from shoal.integrations.nequip.structures import reference_structures
from shoal.integrations.nequip.weights import bare_name
from shoal.neighbors import neighbor_list
from shoal.potentials._derivatives import cell_volume
from shoal.state import SimState

HARMLESS = ("modify_PerTypeScaleShift", "enable_OpenEquivariance", "enable_CuEquivariance")
"""Modifiers that change numbers which are read from the model itself, or only how fast it is."""


def main(path: str, folder: str) -> None:
    """Write what is in the model file at `path` to `folder`."""
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state
    from nequip.utils.versions import get_current_code_versions

    set_global_state()
    config = _sections(Path(path))
    model = load_saved_model(path).eval()
    names = list(model.type_names)
    species = species_map(config["data"]) or {}
    structures, types = reference_structures(names, species, float(model.metadata["r_max"]), _example(path))
    content = {
        "model": config["model"],
        "chemical_species_to_atom_type_map": species or None,
        "type_names": names,
        "versions": get_current_code_versions(verbose=False),
    }
    out = Path(folder)
    (out / "model.json").write_text(json.dumps(content))
    weights = {bare_name(name): values.detach().clone() for name, values in model.state_dict().items()}
    save_file({name: values.contiguous() for name, values in weights.items()}, out / "weights.safetensors")
    results = _evaluate(model, structures, types, float(model.metadata["r_max"]))
    save_file({**structures_to_tensors(structures, types), **results}, out / "reference.safetensors")


def _sections(path: Path) -> dict[str, Any]:
    """The `model` and `data` sections of the configuration a model was trained with."""
    if path.name.endswith(".nequip.zip"):
        import yaml

        whole = yaml.safe_load(torch.package.PackageImporter(str(path)).load_text("model", "config.yaml"))
        model, data = whole["training_module"]["model"], whole.get("data")
    else:
        raw = torch.load(path, map_location="cpu", weights_only=False)
        if "hyper_parameters" not in raw:
            raise ModelFileError("no checkpoint of nequip-train; one of shoal train is packed by shoal package")
        model, data = raw["hyper_parameters"]["model"], raw["hyper_parameters"]["info_dict"].get("data")
    return {"model": _original(model), "data": data or {}}


def _original(model: Mapping[str, Any]) -> dict[str, Any]:
    """The section that says how a model was built, behind those that load or modify one."""
    target = str(model.get("_target_", "")).rpartition(".")[2]
    if target == "modify":
        names = [modifier.get("modifier") for modifier in model["modifiers"]]
        foreign = [name for name in names if name not in HARMLESS]
        if foreign:
            raise ModelFileError(f"the model was modified by {', '.join(map(str, foreign))}, unknown here")
        return _original(model["model"])
    for loader, key in (("ModelFromCheckpoint", "checkpoint_path"), ("ModelFromPackage", "package_path")):
        if target == loader:
            return _sections(Path(model[key]))["model"]
    return dict(model)


def _example(path: str) -> Mapping[str, torch.Tensor] | None:
    """A frame of the training data, if the file holds it or it is still where it was."""
    from nequip.model.saved_models.checkpoint import data_dict_from_checkpoint
    from nequip.model.saved_models.package import data_dict_from_package

    read = data_dict_from_package if path.endswith(".nequip.zip") else data_dict_from_checkpoint
    try:
        return read(path)
    except Exception as error:  # whatever a data set that has moved or changed gives
        print(f"no frame of the training data: {error}", file=sys.stderr)
        return None


def _evaluate(
    model: torch.nn.Module, structures: SimState, types: torch.Tensor, cutoff: float
) -> dict[str, torch.Tensor]:
    """energy (S,) eV, forces (N, 3) eV/A, stress (S, 3, 3) eV/A^3 as nequip computes them."""
    from nequip.data import AtomicDataDict as Keys

    neighbors = neighbor_list(structures, cutoff)
    out = model(
        {
            Keys.POSITIONS_KEY: structures.positions,
            Keys.CELL_KEY: structures.cell,
            Keys.EDGE_INDEX_KEY: neighbors.edge_index,
            Keys.EDGE_CELL_SHIFT_KEY: neighbors.shifts.to(torch.float64),
            Keys.ATOM_TYPE_KEY: types,
            Keys.BATCH_KEY: structures.system_index,
            Keys.NUM_NODES_KEY: structures.n_atoms_per_system,
        }
    )
    has_volume = (cell_volume(structures.cell) > 0)[:, None, None]
    results = {
        "energy": out[Keys.TOTAL_ENERGY_KEY][:, 0],
        "forces": out[Keys.FORCE_KEY],
        "stress": torch.where(has_volume, out[Keys.STRESS_KEY], float("nan")),
    }
    return {name: values.detach().to(torch.float64).contiguous() for name, values in results.items()}


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ModelFileError as error:
        sys.exit(f"{type(error).__name__}: {error}")
