"""A compiled file gives here what upstream's own model, alone, and upstream's own calculator say (nequip 0.19.1)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.potentials.make_nequip_files import BATCHES, MODELS
from tests.potentials.nequip_structures import STRUCTURES

import shoal
from shoal import BatchCalculator
from shoal.testing import close

QUANTITIES = ("energy", "atomic_energy", "forces", "virial", "stress")

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def reference(nequip_files: Path) -> dict[str, Any]:
    return json.loads((nequip_files / "reference.json").read_text())["models"]


def calculator(nequip_files: Path, reference: dict[str, Any], model: str, ending: str = "pt2") -> BatchCalculator:
    species = reference[model]["species"]
    return shoal.load(nequip_files / f"{model}.nequip.{ending}", chemical_species_to_atom_type_map=species)


def test_nothing_of_nequip_is_imported(nequip_files: Path) -> None:
    code = f"""
import shoal, sys
shoal.load({str(nequip_files / "cutoffs.nequip.pt2")!r}, chemical_species_to_atom_type_map=True)
print(*[name for name in sys.modules if name.split(".")[0] in ("nequip", "allegro", "e3nn", "torch_sim")])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("ending", ["pt2", "pth"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", STRUCTURES)
def test_a_batch_equals_upstream_s_model_on_each_structure(
    ending: str, model: str, case: str, nequip_files: Path, reference: dict[str, Any]
) -> None:
    state = shoal.io.atoms_to_state(STRUCTURES[case]())
    results = calculator(nequip_files, reference, model, ending)(state, QUANTITIES)
    offsets = state.offsets.tolist()
    for s, expected in enumerate(reference[model]["alone"][case]):
        rows = slice(offsets[s], offsets[s + 1])
        close(results["energy"][s], expected["energy"], 1e-10)
        close(results["atomic_energy"][rows], expected["atomic_energy"], 1e-10)
        close(results["forces"][rows], expected["forces"], 1e-10)
        close(results["virial"][s], expected["virial"], 1e-10)
        stress = torch.tensor(expected["stress"], dtype=torch.float64)
        torch.testing.assert_close(results["stress"][s], stress, rtol=0, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", BATCHES)
def test_the_same_file_in_upstream_s_torch_sim_calculator(
    model: str, case: str, nequip_files: Path, reference: dict[str, Any]
) -> None:
    results = calculator(nequip_files, reference, model)(shoal.io.atoms_to_state(BATCHES[case]))
    expected = reference[model]["torch_sim"][case]
    assert set(expected) == {"energy", "forces", "stress"}
    for name, values in expected.items():
        close(results[name], values, 1e-10)


def test_the_numbers_compared_are_no_zeros(reference: dict[str, Any]) -> None:
    for model in reference.values():
        (crystal,) = model["alone"]["crystal"]
        assert min(torch.tensor(crystal[name]).abs().max() for name in ("forces", "virial")) > 1e-2


def test_cutoffs_per_pair_of_types_are_those_of_the_file(nequip_files: Path, reference: dict[str, Any]) -> None:
    potential = calculator(nequip_files, reference, "cutoffs").potential
    assert potential.metadata.cutoffs == ((4.0, 3.1), (3.6, 2.9))
    assert calculator(nequip_files, reference, "any").potential.metadata.cutoffs is None
