"""`shoal info`, `evaluate` and `test` take a compiled NequIP file like any other model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from tests.potentials.nequip_standin import by_hand, write_torchscript
from tests.potentials.nequip_structures import crystal, molecule
from typer.testing import Result


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and structures labelled with what it should say."""
    structures = []
    for atoms in (crystal(), molecule()):
        expected = by_hand(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=expected["energy"], forces=expected["forces"])
        structures.append(atoms)
    write(tmp_path / "labelled.xyz", structures)
    return write_torchscript(tmp_path / "pair.nequip.pth"), tmp_path / "labelled.xyz"


def test_info(shoal_cli: Callable[..., Result], files: tuple[Path, Path]) -> None:
    result = shoal_cli("info", files[0], "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert (content["kind"], content["target"]) == ("NequIP's compiled model (TorchScript)", "batch")


def test_evaluate(shoal_cli: Callable[..., Result], files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.xyz"
    result = shoal_cli("evaluate", files[1], "--model", files[0], "--out", out, "--map", "identity")
    assert result.exit_code == 0, result.output
    energies = [atoms.get_potential_energy() for atoms in read(out, ":")]
    assert energies == pytest.approx([by_hand(atoms)["energy"] for atoms in (crystal(), molecule())], abs=1e-6)


def test_test(shoal_cli: Callable[..., Result], files: tuple[Path, Path]) -> None:
    result = shoal_cli("test", files[0], files[1], "--map", "identity", "--json")
    assert result.exit_code == 0, result.output
    total = json.loads(result.stdout)["total"]
    assert total["forces"]["rmse"] == pytest.approx(0, abs=1e-3)  # meV/A; the labels are written to 8 digits
