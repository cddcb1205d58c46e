"""Models that many tests share; each is compiled once a session and mode."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from shoal.deploy import compile_model, package_potential
from shoal.deploy.compile import MODES
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.potentials import LearnedPotential


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors this small are slower on two threads, and manifold so on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For what threads matter to."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def rattled(atoms: Atoms, seed: int, amplitude: float = 0.1) -> Atoms:
    """A copy with Gaussian displacements, amplitude in A."""
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).normal(0, amplitude, moved.positions.shape)
    return moved


def tiny_nequip(type_names: tuple[str, ...], model_dtype: str, species: dict[str, str] | None) -> LearnedPotential:
    """A small untrained NequIP with energies of a few eV and distinct shifts per type."""
    config = {
        "cutoff": 4.0,
        "type_names": list(type_names),
        "mean_neighbors": 12.0,
        "num_layers": 2,
        "l_max": 1,
        "num_features": 8,
        "radial_mlp_width": 16,
        "model_dtype": model_dtype,
        "seed": 3,
    }
    potential = LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map=species)
    shifts = [-4.0 - 1.5 * k for k in range(len(type_names))]
    potential.model.set_scales_shifts([1.3] * len(type_names), shifts)  # type: ignore[operator]
    return potential


def compiled(package: Path, mode: str, kernel: str) -> Path:
    """A package's compiled file, beside it."""
    out = package.with_name(f"{package.stem}-{kernel}{MODES[mode].ending}")
    compile_model(package, out, mode=mode, kernel=kernel)
    return out


@pytest.fixture(scope="session")
def silicon() -> LearnedPotential:
    """float32 core, the single type Si, no map stored."""
    return tiny_nequip(("Si",), "float32", None)


@pytest.fixture(scope="session")
def silicon_package(silicon: LearnedPotential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    diamond = bulk("Si", "diamond", a=5.43, cubic=True)
    state = atoms_to_state([rattled(diamond, 0), rattled(diamond * (2, 1, 1), 1), rattled(diamond, 2)])
    folder = tmp_path_factory.mktemp("silicon")
    return package_potential(silicon, folder / "silicon.shoal", state, torch.zeros(state.n_atoms, dtype=torch.int64))


@pytest.fixture(scope="session")
def fused_silicon(silicon_package: Path) -> Path:
    """The float32 silicon model as a native kernel."""
    return compiled(silicon_package, "aotinductor", "native")


@pytest.fixture(scope="session")
def native_silicon(silicon_package: Path) -> Path:
    """The float32 silicon model as native code."""
    return compiled(silicon_package, "aotinductor", "inductor")


@pytest.fixture(scope="session")
def scripted_silicon(silicon_package: Path) -> Path:
    """The float32 silicon model as TorchScript."""
    return compiled(silicon_package, "torchscript", "reference")


@pytest.fixture(scope="session", params=["fused", "native", "scripted"])
def compiled_silicon(request: pytest.FixtureRequest) -> Path:
    """The float32 silicon model as a compiled file of each kind."""
    return request.getfixturevalue(f"{request.param}_silicon")


WATER_MAP = {"H": "hydrogen_like", "O": "O_water"}


@pytest.fixture(scope="session")
def water() -> LearnedPotential:
    """float64 core, types that are no elements, and the map that goes with them."""
    return tiny_nequip(("hydrogen_like", "O_water"), "float64", WATER_MAP)


@pytest.fixture(scope="session")
def water_package(water: LearnedPotential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = atoms_to_state([rattled(molecule("H2O"), 0, 0.05), rattled(molecule("H2O2"), 1, 0.05)])
    folder = tmp_path_factory.mktemp("water")
    return package_potential(water, folder / "water.shoal", state, water.type_map()(state))


@pytest.fixture(scope="session")
def fused_water(water_package: Path) -> Path:
    """The float64 model of non-element types as a native kernel."""
    return compiled(water_package, "aotinductor", "native")


@pytest.fixture(scope="session")
def native_water(water_package: Path) -> Path:
    """The float64 model of non-element types as native code."""
    return compiled(water_package, "aotinductor", "inductor")


@pytest.fixture(scope="session")
def scripted_water(water_package: Path) -> Path:
    """The float64 model of non-element types as TorchScript."""
    return compiled(water_package, "torchscript", "reference")


@pytest.fixture(scope="session", params=["fused", "native", "scripted"])
def compiled_water(request: pytest.FixtureRequest) -> Path:
    """The float64 model of non-element types as a compiled file of each kind."""
    return request.getfixturevalue(f"{request.param}_water")


ROOT = Path(__file__).parents[1]
NEQUIP_PYTHON = ROOT / ".venv-peers" / "nequip" / "bin" / "python"


@pytest.fixture(scope="session")
def nequip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models that nequip compiled, and what nequip itself says of structures (some minutes)."""
    folder = tmp_path_factory.mktemp("nequip")
    command = [NEQUIP_PYTHON, "-m", "tests.potentials.make_nequip_files", folder]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder
