"""Writes a metatomic file, in a process of its own: metatomic records every TorchScript library that is loaded.

    python -m shoal.integrations.metatomic.save FOLDER

FOLDER holds `energies.pt` (the traced model) and `model.json` (all else); `model.pt` is put there.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

from shoal.integrations.metatomic.module import EngineModel, PortableEnergies


def save(folder: Path) -> None:
    said = json.loads((folder / "model.json").read_text())
    types_of = torch.tensor(said["types_of"], dtype=torch.int64)
    energies = PortableEnergies(torch.jit.load(folder / "energies.pt"))
    energy = ModelOutput(unit="eV", sample_kind="atom", explicit_gradients=[], description="potential energy")
    capabilities = ModelCapabilities(
        outputs={"energy": energy},
        atomic_types=[number for number, kind in enumerate(said["types_of"]) if kind >= 0],
        interaction_range=said["interaction_range"],
        length_unit="angstrom",
        supported_devices=said["supported_devices"],
        dtype="float64",
    )
    module = EngineModel(energies, types_of, said["cutoff"]).eval()
    AtomisticModel(module, ModelMetadata(**said["metadata"]), capabilities).save(folder / "model.pt")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        save(Path(sys.argv[1]))
