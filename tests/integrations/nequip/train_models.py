"""Small models as nequip's own commands make them, and what nequip's own calculator says of structures with them.

    .venv-peers/nequip/bin/python -m tests.integrations.nequip.train_models OUT

Writes OUT/NAME.ckpt, OUT/NAME.nequip.zip for every name in MODELS and OUT/results.json: by name, for each of
`structures()`, energy eV, energies (N,) eV, forces (N, 3) eV/A and stress (6,) eV/A^3.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

CUTOFF = 4.5
SHARED: dict[str, Any] = {
    "seed": 1,
    "type_names": ["copper", "Au"],
    "r_max": CUTOFF,
    "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
    "per_type_energy_scales": "${training_data_stats:per_type_forces_rms}",
    "per_type_energy_shifts": {"copper": -3.5, "Au": -3.8},
}
ALLEGRO = {
    **SHARED,
    "_target_": "allegro.model.AllegroModel",
    "num_layers": 2,
    "num_scalar_features": 8,
    "num_tensor_features": 4,
}
MODELS: dict[str, dict[str, Any]] = {
    "nequip": {
        **SHARED,
        "_target_": "nequip.model.NequIPGNNModel",
        "model_dtype": "float64",
        "num_layers": 3,
        "l_max": 2,
        "parity": False,
        "num_features": [6, 4, 2],
        "radial_mlp_width": 8,
        "readout_mlp_hidden_layers_depth": 1,
        "readout_mlp_hidden_layers_width": 5,
        "bessel_trainable": True,
        "per_type_energy_shifts_trainable": True,
        "per_edge_type_cutoff": {"copper": 4.0, "Au": {"copper": 3.5}},
        "pair_potential": {
            "_target_": "nequip.nn.pair_potential.ZBL",
            "units": "metal",
            "chemical_species": ["Cu", "Au"],
        },
    },
    "preset": {
        **SHARED,
        "_target_": "nequip.model.PresetNequIPGNNModel",
        "preset": "S",
        "model_dtype": "float32",
        "num_features": [8, 4],
    },
    "allegro": {
        **ALLEGRO,
        "model_dtype": "float64",
        "l_max": 2,
        "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 6},
    },
    "spline": {
        **ALLEGRO,
        "model_dtype": "float32",
        "l_max": 1,
        "tp_path_channel_coupling": False,
        "radial_chemical_embed": {
            "_target_": "allegro.nn.TwoBodySplineScalarEmbed",
            "num_splines": 8,
            "spline_span": 6,
        },
    },
}
SPECIES = {"Cu": "copper", "Au": "Au"}


def structures() -> list[Atoms]:
    """Crystal, skewed crystal, slab and molecule of both elements, rattled."""
    crystal = bulk("Cu", "fcc", a=3.8, cubic=True)
    skewed = crystal.copy()
    skewed.set_cell(crystal.cell[:] @ np.array([[1, 0.1, 0.0], [0, 1.02, -0.1], [0.05, 0, 0.97]]), scale_atoms=True)
    cluster = molecule("C2H6")
    cluster.positions *= 1.8
    made = [crystal, skewed, fcc111("Cu", (2, 2, 2), a=3.8, vacuum=6.0), cluster]
    for k, atoms in enumerate(made):
        atoms.numbers = np.where(np.arange(len(atoms)) % 3 == 1, 79, 29)
        atoms.positions += np.random.default_rng(k).normal(0, 0.08, atoms.positions.shape)
    return made


def configuration(model: dict[str, Any], data: Path, folder: Path) -> dict[str, Any]:
    """What nequip-train reads; two epochs on a few frames labelled by a pair potential."""
    coefficients = {"total_energy_mae": 1.0, "forces_mae": 1.0}
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "split_dataset": {"file_path": str(data), "train": 0.75, "val": 0.25},
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": SHARED["type_names"],
                    "chemical_species_to_atom_type_map": SPECIES,
                },
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": CUTOFF},
            ],
            "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 2},
            "val_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 2},
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "dataloader_kwargs": {"batch_size": 2},
                "type_names": SHARED["type_names"],
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": 2,
            "logger": False,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "dirpath": str(folder),
                    "filename": "model",
                }
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": 0.9,
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": coefficients},
            "train_metrics": {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": coefficients},
            "test_metrics": {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": coefficients},
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "model": model,
        },
        "global_options": {"allow_tf32": False},
    }


def train(name: str, out: Path, data: Path) -> None:
    """OUT/NAME.ckpt and OUT/NAME.nequip.zip."""
    import yaml

    folder = out / name
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(MODELS[name], data, folder)))
    commands = Path(sys.executable).parent
    run = [str(commands / "nequip-train"), "-cp", str(folder), "-cn", "config", f"hydra.run.dir={folder}"]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    shutil.copy(folder / "model.ckpt", out / f"{name}.ckpt")
    build = [str(commands / "nequip-package"), "build", f"{out / name}.ckpt", f"{out / name}.nequip.zip"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def results(path: Path) -> list[dict[str, Any]]:
    """What nequip's calculator says, from the checkpoint."""
    from nequip.integrations.ase import NequIPCalculator

    calculator = NequIPCalculator._from_saved_model(str(path), chemical_species_to_atom_type_map=SPECIES)
    rows = []
    for atoms in structures():
        atoms.calc = calculator
        periodic = {"stress": atoms.get_stress().tolist()} if atoms.cell.rank == 3 else {}
        energy, energies = atoms.get_potential_energy(), atoms.get_potential_energies()
        rows.append(
            {"energy": float(energy), "energies": energies.tolist(), "forces": atoms.get_forces().tolist(), **periodic}
        )
    return rows


def main(folder: str) -> None:
    from ase.calculators.lj import LennardJones
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    out = Path(folder)
    frames = []
    for k in range(8):
        atoms = structures()[k % 2]
        atoms.rattle(0.05, seed=k)
        atoms.calc = LennardJones(sigma=2.3, epsilon=0.3, rc=CUTOFF)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    write(out / "data.xyz", frames)
    for name in MODELS:
        train(name, out, out / "data.xyz")
    (out / "results.json").write_text(json.dumps({name: results(out / f"{name}.ckpt") for name in MODELS}))


if __name__ == "__main__":
    main(*sys.argv[1:])
