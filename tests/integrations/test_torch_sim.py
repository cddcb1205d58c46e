"""Shoal's models inside torch-sim are torch-sim models, and give there what upstream's own calculator gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from tests.conftest import NEQUIP_PYTHON, ROOT, rattled, tiny_nequip
from tests.potentials.nequip_structures import crystal

from shoal.deploy import package_potential
from shoal.io import atoms_to_state

PAGE = ROOT / "docs" / "torch_sim.md"
BLOCK = re.compile(r"^```\{code-block\} python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# the example of upstream's own page, to the letter
UPSTREAM_S_EXAMPLE = """
import torch
import torch_sim as ts
from ase.build import bulk
from nequip.integrations import NequIPTorchSimCalc

# Initialize the calculator
calculator = NequIPTorchSimCalc.from_compiled_model(
    compile_path="path/to/compiled_model.nequip.pt2",
    device="cuda" if torch.cuda.is_available() else "cpu",
    chemical_species_to_atom_type_map=True,  # identity mapping
)

# Create multiple structures
structures = [
    bulk("Si", crystalstructure="diamond", a=5.43 * scale, cubic=True)
    for scale in [0.98, 1.00, 1.02]
]

# Convert to torch-sim state and evaluate in a single batched call
sim_state = ts.io.atoms_to_state(structures, device="cuda", dtype=torch.float64)
results = calculator(sim_state)

# Access results
energies = results["energy"]  # shape: (n_systems,)
forces = results["forces"]    # shape: (n_atoms_total, 3)
stress = results["stress"]    # shape: (n_systems, 3, 3)
"""


def test_without_torch_sim_the_error_says_how_to_get_it() -> None:
    code = """
import importlib.util, sys
sys.modules["torch_sim"] = None
import shoal.integrations.torch_sim
try:
    from shoal.integrations.torch_sim import TorchSimCalculator
except ImportError as error:
    print(type(error).__name__, error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("MissingDependencyError TorchSimCalculator")
    assert "pip install torch-sim-atomistic" in run.stdout


def in_peer(code: str, folder: Path) -> str:
    run = subprocess.run([NEQUIP_PYTHON, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.fixture(scope="module")
def workplace(nequip_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch-sim")
    shutil.copy(nequip_files / "cutoffs.nequip.pt2", folder / "silicon.nequip.pt2")
    return folder


@pytest.mark.peer
@pytest.mark.slow
def test_upstream_s_example_runs_with_only_the_calculator_s_import_changed(workplace: Path) -> None:
    changes = {
        "from nequip.integrations import NequIPTorchSimCalc": "from shoal.integrations.torch_sim import "
        "TorchSimCalculator as NequIPTorchSimCalc",
        "path/to/compiled_model.nequip.pt2": "silicon.nequip.pt2",
    }
    if not torch.cuda.is_available():
        changes['device="cuda", dtype'] = 'device="cpu", dtype'
    example = UPSTREAM_S_EXAMPLE
    for old, new in changes.items():
        assert example.count(old) == 1
        example = example.replace(old, new)
    shown = "print(*energies.shape, *forces.shape, *stress.shape, float(energies.std()), float(forces.abs().max()))"
    *shapes, spread, largest = in_peer(example + shown, workplace).splitlines()[-1].split()
    assert list(map(int, shapes)) == [3, 24, 3, 3, 3, 3]
    assert float(spread) > 1e-3
    assert float(largest) < 1e-10  # every atom of a perfect crystal is a centre of symmetry for its forces


@pytest.mark.peer
@pytest.mark.slow
def test_the_manual_s_page_runs(workplace: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == 2
    in_peer("\n".join(blocks), workplace)


@pytest.fixture(scope="module")
def runs(nequip_files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    potential = tiny_nequip(("Si", "C"), "float64", {"Si": "Si", "C": "C"})
    state = atoms_to_state([rattled(crystal(), 1), rattled(crystal(), 2), Atoms("C")])
    folder = tmp_path_factory.mktemp("own")
    package = package_potential(potential, folder / "sic.shoal", state, potential.type_map()(state))
    command = [NEQUIP_PYTHON, "-m", "tests.integrations.torch_sim_runs", nequip_files / "cutoffs.nequip.pt2", package]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.peer
@pytest.mark.slow
class TestInside:
    def test_it_is_a_model_with_upstream_s_attributes(self, runs: dict[str, Any]) -> None:
        assert runs["is a model"]
        assert runs["attributes"] == runs["their attributes"]

    @pytest.mark.parametrize("run", ["FIRE", "FIRE with cells", "NVT Langevin", "NVT Nose-Hoover"])
    def test_every_step_is_upstream_s(self, run: str, runs: dict[str, Any]) -> None:
        found = dict(runs["runs"][run])
        assert found.pop("moved") > 0.1
        assert found == {name: pytest.approx(0, abs=1e-10) for name in ("energy", "forces", "positions", "cell")}

    def test_a_call_leaves_the_state_alone(self, runs: dict[str, Any]) -> None:
        assert runs["unchanged"]

    def test_flags_say_what_comes(self, runs: dict[str, Any]) -> None:
        assert runs["flags"] == {
            "True True": ["energy", "forces", "stress"],
            "True False": ["energy", "forces"],
            "False True": ["energy", "stress"],
            "False False": ["energy"],
        }

    def test_what_is_kept_from_call_to_call_never_outlives_its_state(self, runs: dict[str, Any]) -> None:
        found = runs["layouts"]
        energies = {name.removesuffix(" energy"): found.pop(name) for name in list(found) if name.endswith("energy")}
        assert found == dict.fromkeys(energies, 0.0)
        assert len({round(value, 4) for value in energies.values()}) == len(energies)

    def test_our_own_files_give_the_same_inside(self, runs: dict[str, Any]) -> None:
        assert len(runs["own"]) == 1
        assert all(value < 1e-12 for value in runs["own"].values())
