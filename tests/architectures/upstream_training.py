"""The first steps of a training by nequip's own model, loss and data; run where nequip is installed.

.venv-peers/nequip/bin/python -m tests.architectures.upstream_training > tests/architectures/upstream_training.json
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from tests.architectures import upstream
from tests.architectures.upstream_cases import Settings

from shoal.engine import BatchCalculator
from shoal.io import atoms_to_state, state_to_atoms
from shoal.potentials import StillingerWeber

N_STEPS = 50
BATCH_SIZE = 2
LEARNING_RATE = 0.01
ENERGY_PER_ATOM = -4.2  # eV
LOSS_WEIGHTS = {"energy": 0.125, "forces": 0.25, "stress": 0.625}
SETTINGS: Settings = {
    "cutoff": 4.0,
    "type_names": ["Si"],
    "mean_neighbors": 16.0,
    "num_layers": 2,
    "l_max": 2,
    "parity": False,
    "num_features": [4, 3, 2],
    "radial_mlp_width": 6,
    "num_bessels": 6,
    "bessel_trainable": True,
    "readout_mlp_depth": 1,
    "scales_trainable": True,
    "shifts_trainable": True,
    "model_dtype": "float64",
}


def frames() -> list[Atoms]:
    """Strained, rattled silicon labelled with the Stillinger-Weber potential; five batches."""
    random, cells = np.random.RandomState(7), []
    for _ in range(5 * BATCH_SIZE):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * random.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.15 * random.standard_normal(atoms.positions.shape)
        cells.append(atoms)
    state = atoms_to_state(cells)
    return state_to_atoms(state, BatchCalculator(StillingerWeber())(state))


def train() -> dict[str, Any]:
    """Weights before the first step and the loss at each."""
    from nequip.data import AtomicDataDict as Keys
    from nequip.data import from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.train import EnergyForceStressLoss

    names = SETTINGS["type_names"]
    transforms = (ChemicalSpeciesToAtomTypeMapper(names), NeighborListTransform(SETTINGS["cutoff"], type_names=names))
    data = []
    for atoms in frames():
        frame = from_ase(atoms)
        for transform in transforms:
            frame = transform(frame)
        data.append(frame)
    names_of_terms = {"energy": Keys.TOTAL_ENERGY_KEY, "forces": Keys.FORCE_KEY, "stress": Keys.STRESS_KEY}
    loss = EnergyForceStressLoss(coeffs={names_of_terms[name]: weight for name, weight in LOSS_WEIGHTS.items()})
    model = upstream.build(SETTINGS).train()
    with torch.no_grad():
        upstream.parameters(model)["per_type_energy_scale_shift.shifts"].fill_(ENERGY_PER_ATOM)
    initial = {name: values.tolist() for name, values in upstream.tensors(model).items() if values.numel()}
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses = []
    for step in range(N_STEPS):
        first = step * BATCH_SIZE % len(data)
        batch = Keys.batched_from_list([dict(frame) for frame in data[first : first + BATCH_SIZE]])
        target = dict(batch)
        value = loss(model(batch), target)["weighted_sum"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return {"settings": SETTINGS, "initial": initial, "losses": losses}


def main() -> None:
    import nequip
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    set_global_state()
    json.dump({"nequip": nequip.__version__, **train()}, sys.stdout, indent=None)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
