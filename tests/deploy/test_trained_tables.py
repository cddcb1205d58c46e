"""A model that was trained with radial tables is that model in its package and in every file compiled from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.build import bulk
from tests.conftest import rattled, tiny_nequip
from tests.training.conftest import labelled_argon, tiny

import shoal
from shoal.deploy import compile_model, package_potential
from shoal.deploy.compile import MODES
from shoal.errors import InputError
from shoal.files import ArchitectureSpec, describe, read_metadata, read_package
from shoal.files.compiled import radial_table_in_words
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import Committee, CompiledPotential, LearnedPotential
from shoal.potentials.base import Potential
from shoal.potentials.native import NativePotential
from shoal.state import SimState

PIECES = 12
"""So few that the networks are visibly another model."""


@pytest.fixture(scope="module")
def state() -> SimState:
    return atoms_to_state([rattled(bulk("Si", "diamond", a=5.43, cubic=True), seed) for seed in range(3)])


@pytest.fixture(scope="module")
def tabulated() -> LearnedPotential:
    return tiny_nequip(("Si",), "float64", None).with_radial_table(PIECES)


@pytest.fixture(scope="module")
def package(tabulated: LearnedPotential, state: SimState, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tabulated") / "silicon.shoal"
    return package_potential(tabulated, out, state, torch.zeros(state.n_atoms, dtype=torch.int64))


def forces(potential: Potential, state: SimState) -> torch.Tensor:
    types = torch.zeros(state.n_atoms, dtype=torch.int64)
    return potential(state, neighbor_list(state, potential.cutoff), ("forces",), atom_types=types)["forces"]


def test_a_training_leaves_its_tables_in_checkpoint_and_package(tmp_path: Path) -> None:
    import ase.io

    ase.io.write(tmp_path / "argon.xyz", [labelled_argon(seed) for seed in range(10)])
    config = tiny(tmp_path / "argon.xyz", tmp_path / "run", max_epochs=1, radial_table=PIECES)
    best = shoal.train(config, progress=False).best
    assert best is not None
    content = read_package(shoal.package(best, tmp_path / "argon.shoal"))
    assert content.manifest.architecture.radial_table == PIECES
    for file in (best, tmp_path / "argon.shoal"):
        assert describe(file)["radial_table"] == {"pieces": PIECES, "chosen_by": "training"}


@pytest.mark.parametrize(
    ("mode", "kernel"),
    [
        ("aotinductor", "native"),
        ("torchscript", "reference"),
        ("torchscript", "native"),
        pytest.param("aotinductor", "inductor", marks=pytest.mark.slow),
    ],
)
def test_whatever_computes_it_computes_what_was_trained(
    mode: str, kernel: str, package: Path, tabulated: LearnedPotential, state: SimState, tmp_path: Path
) -> None:
    """In float64, where a native kernel would take the networks of any other model."""
    out = tmp_path / f"x{MODES[mode].ending}"
    table = compile_model(package, out, mode=mode, kernel=kernel, table_error=1e-9).radial_table
    want = forces(tabulated, state)
    torch.testing.assert_close(forces(LearnedPotential.from_package(package), state), want, rtol=0, atol=1e-13)
    torch.testing.assert_close(forces(CompiledPotential(out), state), want, rtol=0, atol=1e-11)
    if mode == "torchscript":  # with a kernel or without
        operators = CompiledPotential(out, use_kernel=False)
        torch.testing.assert_close(forces(operators, state), want, rtol=0, atol=1e-11)
    away = float((forces(tabulated.with_radial_table(None), state) - want).norm(dim=1).max())
    assert away > 1e-5
    assert float(table["force_error"]) >= away  # forces are below 1 eV/A
    assert (table["pieces"], table["chosen_by"]) == (PIECES, "training")
    assert describe(out)["radial_table"] == table
    assert "12 pieces, as it was trained" in radial_table_in_words(read_metadata(out).radial_table)


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_an_exported_file_has_the_tables_of_training(kernel: str, package: Path, tmp_path: Path) -> None:
    """Held against the package's potential as it is written; the networks would be 1e-5 away."""
    exported = shoal.export_model(package, tmp_path / "x.pt", kernel=kernel)
    assert exported.table is not None
    assert (exported.table.pieces, exported.table.trained) == (PIECES, True)
    assert max(exported.differences.values()) < 1e-9


def test_its_networks_alone_are_another_model(package: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trained with radial tables of 12 pieces.*leave --exact out"):
        compile_model(package, tmp_path / "x.shoal.pt2", exact=True)


def test_a_package_that_does_not_say_has_its_networks(silicon: LearnedPotential) -> None:
    old = {"name": "nequip", "config": silicon.spec.config}
    assert ArchitectureSpec.model_validate(old) == silicon.spec


def test_other_precisions_and_convolutions_keep_the_tables(tabulated: LearnedPotential, state: SimState) -> None:
    want = forces(tabulated, state)
    for other, tolerance in (
        (tabulated.with_convolution("native"), 1e-12),
        (tabulated.with_core_dtype("float32"), 1e-5),
    ):
        torch.testing.assert_close(forces(other, state), want, rtol=0, atol=tolerance)


def test_a_committee_mixes_tables_and_networks(tabulated: LearnedPotential, state: SimState) -> None:
    members = [tabulated.with_radial_table(pieces) for pieces in (PIECES, None, 64)]
    mean = torch.stack([forces(member, state) for member in members]).mean(dim=0)
    torch.testing.assert_close(forces(Committee(members), state), mean, rtol=0, atol=1e-12)


def test_a_kernel_in_memory_has_the_tables_of_training(tabulated: LearnedPotential, state: SimState) -> None:
    torch.testing.assert_close(forces(NativePotential(tabulated), state), forces(tabulated, state), rtol=0, atol=1e-11)
    for pieces in (256, None):
        with pytest.raises(InputError, match=f"trained with tables of {PIECES} pieces"):
            NativePotential(tabulated, pieces)
