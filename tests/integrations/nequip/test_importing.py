"""Models that nequip trained are the same models here, from its checkpoints and from its packages."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.integrations.nequip.train_models import MODELS, structures

from shoal import import_nequip
from shoal.errors import InputError, MissingDependencyError, ModelFileError
from shoal.files import read_package
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.integrations.ase import ShoalCalculator
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.testing import close

ROOT = Path(__file__).parents[3]
PEER = ROOT / ".venv-peers" / "nequip" / "bin" / "python"
TOLERANCE = {"float64": 1e-10, "float32": 5e-5}


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [PEER, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nequip-models")
    run("-m", "tests.integrations.nequip.train_models", folder)
    return folder


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("ending", [".ckpt", ".nequip.zip"])
@pytest.mark.parametrize("name", MODELS)
class TestImported:
    @pytest.fixture
    def package(self, trained: Path, name: str, ending: str) -> Path:
        out = trained / f"{name}{ending}.shoal"
        if not out.exists():
            run("-m", "shoal", "import-nequip", trained / f"{name}{ending}", out, "--trust")
        return out

    def test_energies_forces_and_stresses_are_those_of_nequips_calculator(
        self, trained: Path, package: Path, name: str
    ) -> None:
        theirs = json.loads((trained / "results.json").read_text())[name]
        calculator = ShoalCalculator(package)
        tolerance = TOLERANCE[MODELS[name]["model_dtype"]]
        shifts = {29: -3.5, 79: -3.8}
        for atoms, expected in zip(structures(), theirs, strict=True):
            atoms.calc = calculator
            reference = np.array([shifts[number] for number in atoms.numbers])
            close(atoms.get_potential_energies() - reference, np.array(expected["energies"]) - reference, tolerance)
            close(atoms.get_forces(), expected["forces"], tolerance)
            total = atoms.get_potential_energy() - reference.sum()
            close([total / len(atoms)], [(expected["energy"] - reference.sum()) / len(atoms)], tolerance)
            if "stress" in expected:
                close(atoms.get_stress(), expected["stress"], tolerance)

    def test_the_package_holds_nequips_own_results_and_proves_itself(self, package: Path, name: str) -> None:
        content = read_package(package)
        assert content.manifest.chemical_species_to_atom_type_map == {"Cu": "copper", "Au": "Au"}
        assert content.manifest.provenance["reference_results_by"] == "nequip"
        state, types = tensors_to_structures(content.reference)
        assert state.n_systems == 5  # a cluster, a skewed cell and three of a frame of the training data
        potential = LearnedPotential.from_package(content)
        results = potential(state, neighbor_list(state, potential.cutoff), RESULTS, atom_types=types)
        for quantity in ("forces", "stress"):
            there = ~content.reference[quantity].isnan()
            assert int(there.sum()) > 0
            tolerance = TOLERANCE[MODELS[name]["model_dtype"]]
            close(results[quantity][there], content.reference[quantity][there], tolerance)

    def test_statistics_come_along(self, package: Path, name: str) -> None:
        statistics = read_package(package).manifest.statistics
        assert set(statistics["energy_shifts"]) == {"copper", "Au"}
        assert statistics["energy_shifts"]["Au"] == pytest.approx(-3.8, abs=0.1)
        assert 5 < statistics["mean_neighbors"]["copper"] < 80


@pytest.mark.peer
@pytest.mark.slow
def test_averaged_weights_are_taken_where_nequip_averages(trained: Path) -> None:
    """The checkpoint holds the last weights too; they give other numbers than its calculator."""
    raw = torch.load(trained / "allegro.ckpt", map_location="cpu", weights_only=False)
    out = trained / "averaged.shoal"
    run("-m", "shoal", "import-nequip", trained / "allegro.ckpt", out, "--trust")
    name = "readout.weights.0"
    last = next(
        values for key, values in raw["state_dict"].items() if key.endswith("edge_readout.mlp_module.mlp.0.weight")
    )
    assert (read_package(out).weights[name] - last).abs().max() > 1e-4


def touch(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"anything")
    return path


def test_without_trust_nothing_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--trust"):
        import_nequip(touch(tmp_path, "x.ckpt"), tmp_path / "x.shoal")


def test_without_nequip_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="pip install nequip"):
        import_nequip(touch(tmp_path, "x.nequip.zip"), tmp_path / "x.shoal", trust=True)


@pytest.mark.parametrize(
    ("model", "out", "message"),
    [
        ("x.nequip.pt2", "x.shoal", "needs no import"),
        ("x.pth", "x.shoal", r"takes \*\.ckpt and \*\.nequip\.zip"),
        ("x.ckpt", "x.zip", r"ends in \.shoal"),
        ("x.ckpt", "nowhere/x.shoal", "nowhere: no such folder"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, model: str, out: str, message: str) -> None:
    with pytest.raises((ModelFileError, InputError), match=message):
        import_nequip(touch(tmp_path, model), tmp_path / out, trust=True)


@pytest.mark.peer
@pytest.mark.parametrize("content", [b"anything", b""])
def test_what_nequip_cannot_open_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    path = touch(tmp_path, "broken.ckpt")
    path.write_bytes(content)
    words = [PEER, "-m", "shoal", "import-nequip", path, tmp_path / "x.shoal", "--trust"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "broken.ckpt: truncated, damaged or no model of nequip" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.shoal").exists()
