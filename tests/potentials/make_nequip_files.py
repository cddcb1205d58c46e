"""Small models of nequip, compiled by nequip, and what nequip itself says of structures. Run where nequip is.

python -m tests.potentials.make_nequip_files OUT    writes OUT/NAME.nequip.pt2, NAME.nequip.pth, reference.json
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from tests.potentials.nequip_structures import STRUCTURES, crystal, mirrored

R_MAX = 4.0
COMMON: dict[str, Any] = {
    "seed": 5,
    "model_dtype": "float64",
    "r_max": R_MAX,
    "l_max": 1,
    "num_features": 8,
    "radial_mlp_width": 16,
    "avg_num_neighbors": 11.0,
}
MODELS: dict[str, dict[str, Any]] = {
    "any": {
        "type_names": ["anything"],
        "num_layers": 1,
        "parity": False,
        "per_type_energy_scales": 2.0,
        "per_type_energy_shifts": -3.0,
    },
    "cutoffs": {
        "type_names": ["Si", "C"],
        "num_layers": 2,
        "parity": True,
        "per_type_energy_scales": {"Si": 2.0, "C": 1.5},
        "per_type_energy_shifts": {"Si": -5.0, "C": -9.0},
        "per_edge_type_cutoff": {"Si": {"Si": 4.0, "C": 3.1}, "C": {"Si": 3.6, "C": 2.9}},
    },
}
# the batches that torch-sim can hold: one periodicity for all
BATCHES = {"one crystal": [crystal()], "crystals": [crystal(), mirrored(), crystal() * (1, 2, 1)]}


def species(type_names: list[str]) -> dict[str, str]:
    return {"Si": type_names[0], "C": type_names[-1]}


def compile_as_nequip_does(model: torch.nn.Module, atoms: Atoms, prepare: Any, out: Path) -> None:
    """The batch target, with the metadata that nequip-compile writes."""
    from nequip.data import AtomicDataDict
    from nequip.scripts._compile_utils import BATCH_TARGET
    from nequip.utils.aot import aot_export_model
    from torch.export import Dim

    metadata = {
        **model.metadata,
        "allow_tf32": "0",
        "nequip_aoti_inputs": " ".join(BATCH_TARGET["input"]),
        "nequip_aoti_outputs": " ".join(BATCH_TARGET["output"]),
    }
    aot_export_model(
        model=model,
        device="cpu",
        input_fields=BATCH_TARGET["input"],
        output_fields=BATCH_TARGET["output"],
        data=AtomicDataDict.batched_from_list([prepare(atoms), prepare(atoms)]),
        batch_map={key: Dim(f"num_{key}s", min=2, max=torch.inf) for key in ("graph", "node", "edge")},
        output_path=str(out),
        inductor_configs={"aot_inductor.metadata": metadata},
    )


def script_as_nequip_does(settings: dict[str, Any], out: Path) -> None:
    """nequip-compile refuses TorchScript on torch >= 2.10; what it calls before that still writes it."""
    import e3nn
    from nequip.model import NequIPGNNModel
    from nequip.model.inference_models.torchscript import save_torchscript_model

    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_mode="script")
    model = NequIPGNNModel(**COMMON, **settings).eval()
    save_torchscript_model(model, {**model.metadata, "allow_tf32": "0"}, str(out), "cpu")
    e3nn.set_optimization_defaults(**before)


def listable(atoms: Atoms) -> Atoms:
    """Without open vectors that lie along others: ASE, which lists upstream's pairs, makes NaN of such a cell."""
    cell = atoms.cell.array
    if np.linalg.matrix_rank(cell) < np.count_nonzero(cell.any(axis=1)):
        atoms = atoms.copy()
        atoms.cell[~atoms.pbc] = 0
    return atoms


def alone(model: torch.nn.Module, atoms: Atoms, prepare: Any) -> dict[str, Any]:
    """Upstream's eager model on one structure by itself."""
    out = model(prepare(atoms))
    values = {
        "energy": out["total_energy"].view(()),
        "atomic_energy": out["atomic_energy"].view(-1),
        "forces": out["forces"],
        "virial": out["virial"].view(3, 3),
        "stress": out["stress"].view(3, 3),
    }
    return {name: value.detach().tolist() for name, value in values.items()}


def in_torch_sim(file: Path, structures: list[Atoms], mapping: dict[str, str]) -> dict[str, Any]:
    """Upstream's torch-sim calculator on the compiled file."""
    import torch_sim
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    calculator = NequIPTorchSimCalc.from_compiled_model(str(file), chemical_species_to_atom_type_map=mapping)
    state = torch_sim.io.atoms_to_state(structures, torch.device("cpu"), torch.float64)
    return {name: value.tolist() for name, value in calculator(state).items()}


def main(folder: Path) -> None:
    import nequip
    from nequip.data.ase import from_ase
    from nequip.integrations.utils import basic_transforms
    from nequip.model import NequIPGNNModel
    from nequip.nn import graph_model
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    set_global_state()
    reference: dict[str, Any] = {"nequip": nequip.__version__, "models": {}}
    for name, settings in MODELS.items():
        model = NequIPGNNModel(**COMMON, **settings).eval()
        mapping = species(settings["type_names"])
        transforms = basic_transforms(dict(model.metadata), R_MAX, settings["type_names"], mapping, "ase")

        def prepare(atoms: Atoms, transforms: list[Any] = transforms) -> dict[str, torch.Tensor]:
            atoms = listable(atoms)
            data = from_ase(atoms)
            data["cell"] = torch.as_tensor(atoms.cell.array)[None]
            data["edge_cell_shift"] = torch.zeros(0, 3, dtype=torch.float64)
            for transform in transforms:
                data = transform(data)
            return data

        assert graph_model.R_MAX_KEY in model.metadata
        out = folder / f"{name}.nequip.pt2"
        compile_as_nequip_does(model, crystal() * (1, 2, 1), prepare, out)
        script_as_nequip_does(settings, folder / f"{name}.nequip.pth")
        reference["models"][name] = {
            "species": mapping,
            "alone": {case: [alone(model, atoms, prepare) for atoms in make()] for case, make in STRUCTURES.items()},
            "torch_sim": {case: in_torch_sim(out, structures, mapping) for case, structures in BATCHES.items()},
        }
    (folder / "reference.json").write_text(json.dumps(reference))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
