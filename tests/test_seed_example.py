"""The example this project set out from: three silicon cells, one batched call."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from shoal import BatchCalculator
from shoal.errors import ShoalWarning

device = "cuda" if torch.cuda.is_available() else "cpu"


def calculator_of(path: Path, **options: object) -> BatchCalculator:
    return BatchCalculator.from_compiled_model(compile_path=path, device=device, **options)


def test_three_cells_in_a_single_batched_call(compiled_silicon: Path) -> None:
    # Initialize the calculator
    calculator = BatchCalculator.from_compiled_model(
        compile_path=str(compiled_silicon),
        device=device,
        chemical_species_to_atom_type_map=True,  # identity mapping
    )

    # Create multiple structures
    structures = [bulk("Si", crystalstructure="diamond", a=5.43 * scale, cubic=True) for scale in [0.98, 1.00, 1.02]]

    # Convert to one packed state and evaluate in a single batched call
    sim_state = shoal.io.atoms_to_state(structures, device=device, dtype=torch.float64)
    results = calculator(sim_state)

    # Access results
    energies = results["energy"]  # shape: (n_systems,)
    forces = results["forces"]  # shape: (n_atoms_total, 3)
    stress = results["stress"]  # shape: (n_systems, 3, 3)

    assert energies.shape == (3,)
    assert forces.shape == (24, 3)
    assert stress.shape == (3, 3, 3)
    assert energies.dtype == forces.dtype == stress.dtype == torch.float64
    assert {energies.device.type, forces.device.type, stress.device.type} == {device}
    assert forces.abs().max() < 1e-5  # every atom of the perfect crystal is a centre of symmetry for its forces
    off_diagonal = stress - torch.diag_embed(stress.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-6


def test_stress_is_the_slope_of_the_energy_over_the_volume(compiled_silicon: Path) -> None:
    """trace(stress) / 3 = dE/dV, by central differences in one batch with the cell itself."""
    step = 1e-2
    cells = [bulk("Si", "diamond", a=a, cubic=True) for a in (5.43 - step, 5.43, 5.43 + step)]
    results = calculator_of(compiled_silicon, chemical_species_to_atom_type_map=True)(shoal.io.atoms_to_state(cells))
    volumes = [atoms.get_volume() for atoms in cells]
    slope = (results["energy"][2] - results["energy"][0]) / (volumes[2] - volumes[0])
    assert float(results["stress"][1].trace() / 3) == pytest.approx(float(slope), rel=2e-3, abs=1e-5)


def test_a_cell_gives_the_same_alone(compiled_silicon: Path) -> None:
    calculator = calculator_of(compiled_silicon, chemical_species_to_atom_type_map=True)
    cells = [bulk("Si", "diamond", a=5.43 * scale, cubic=True) for scale in (0.98, 1.00, 1.02)]
    together = calculator(shoal.io.atoms_to_state(cells))
    for s, atoms in enumerate(cells):
        alone = calculator(shoal.io.atoms_to_state(atoms))
        assert float((together["energy"][s] - alone["energy"][0]).abs()) < 1e-5
        assert float((together["stress"][s] - alone["stress"][0]).abs().max()) < 1e-5


def test_only_a_map_left_out_is_warned_about(compiled_silicon: Path) -> None:
    with pytest.warns(ShoalWarning) as caught:
        calculator_of(compiled_silicon)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator_of(compiled_silicon, chemical_species_to_atom_type_map=True)


def test_a_map_gives_other_species_the_model_s_types(compiled_silicon: Path) -> None:
    calculator = calculator_of(compiled_silicon, chemical_species_to_atom_type_map={"Ge": "Si"})
    named = calculator_of(compiled_silicon, chemical_species_to_atom_type_map=True)
    silicon = bulk("Si", "diamond", a=5.43, cubic=True)
    germanium = Atoms("Ge8", positions=silicon.positions, cell=silicon.cell, pbc=True)
    energies = [
        float(which(shoal.io.atoms_to_state(atoms, device=device))["energy"][0])
        for which, atoms in ((calculator, germanium), (named, silicon))
    ]
    assert energies[0] == energies[1]
