"""Writes a metatomic file, in a process of its own: metatomic records every TorchScript library that is loaded.

    python -m shoal.integrations.metatomic.save FOLDER

FOLDER holds `model.json` and either `energies.pt`, the traced model, or `kernel.pt`, a native kernel, and in
`libraries` the operator that calls it. `model.pt` is put there, and `extensions` with what it needs.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput
from torch import nn

from shoal.integrations.metatomic.module import EngineModel, PortableEnergies, native_energies


def save(folder: Path) -> None:
    said = json.loads((folder / "model.json").read_text())
    types_of = torch.tensor(said["types_of"], dtype=torch.int64)
    energy = ModelOutput(unit="eV", sample_kind="atom", explicit_gradients=[], description="potential energy")
    capabilities = ModelCapabilities(
        outputs={"energy": energy},
        atomic_types=[number for number, kind in enumerate(said["types_of"]) if kind >= 0],
        interaction_range=said["interaction_range"],
        length_unit="angstrom",
        supported_devices=said["supported_devices"],
        dtype="float64",
    )
    module = EngineModel(_energies(folder, said.get("operator")), types_of, said["cutoff"]).eval()
    model = AtomisticModel(module, ModelMetadata(**said["metadata"]), capabilities)
    sys.prefix = str((folder / "libraries").resolve())  # metatomic names libraries by their place in it
    model.save(folder / "model.pt", collect_extensions=str(folder / "extensions"))


def _energies(folder: Path, operator: dict[str, str] | None) -> nn.Module:
    if operator is None:
        return PortableEnergies(torch.jit.load(folder / "energies.pt"))
    torch.ops.load_library(folder.resolve() / "libraries" / operator["file"])
    return native_energies(operator["namespace"], torch.load(folder / "kernel.pt"))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        save(Path(sys.argv[1]))
