"""A package carries results that its model must give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shoal import compile_model
from shoal.deploy import package_potential
from shoal.deploy.prove import compare_with_reference
from shoal.errors import ModelFileError
from shoal.files import read_package
from shoal.files.reference import RESULTS, tensors_to_structures
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential


def test_a_package_gives_its_own_results(silicon_package: Path) -> None:
    content = read_package(silicon_package)
    differences = compare_with_reference(LearnedPotential.from_package(content), content.reference, "model")
    assert set(differences) == set(RESULTS)
    assert max(differences.values()) < 1e-5


@pytest.mark.parametrize(("quantity", "change"), [("energy", 0.01), ("forces", 0.01), ("stress", 1e-3)])
def test_other_results_are_refused_before_anything_is_compiled(
    silicon_package: Path, tmp_path: Path, quantity: str, change: float
) -> None:
    content = read_package(silicon_package)
    potential = LearnedPotential.from_package(content)
    structures, types = tensors_to_structures(content.reference)
    results = {name: content.reference[name].clone() for name in RESULTS}
    results[quantity].view(-1)[-1] += change
    wrong = package_potential(potential, tmp_path / "wrong.shoal", structures, types, results=results)
    with pytest.raises(ModelFileError, match=rf"wrong\.shoal.*its {quantity} differs"):
        compile_model(wrong, tmp_path / "wrong.shoal.pth", mode="torchscript")
    assert not (tmp_path / "wrong.shoal.pth").exists()


def test_large_reference_energies_do_not_hide_a_wrong_energy(silicon_package: Path) -> None:
    """The allowed difference is of the energy without isolated atoms, whatever they have."""
    content = read_package(silicon_package)
    potential = LearnedPotential.from_package(content)
    potential.model.set_scales_shifts(potential.model.scale_shift.scales.clone(), -20_000.0)
    structures, types = tensors_to_structures(content.reference)
    results = potential(structures, neighbor_list(structures, potential.cutoff), RESULTS, atom_types=types)
    reference = {**content.reference, **results}
    assert compare_with_reference(potential, reference, "model")["energy"] == 0
    reference["energy"] = results["energy"] + 0.002 * structures.n_atoms_per_system
    with pytest.raises(ModelFileError, match="its energy differs by 2"):
        compare_with_reference(potential, reference, "model")


def test_a_result_that_is_not_a_number_is_refused(silicon_package: Path) -> None:
    content = read_package(silicon_package)
    reference = {**content.reference, "forces": torch.full_like(content.reference["forces"], float("nan"))}
    with pytest.raises(ModelFileError, match="its forces differs by nan"):
        compare_with_reference(LearnedPotential.from_package(content), reference, "model")
