"""A file in nequip-compile's layout gives its model's numbers, whatever the structures, with nothing of nequip here."""

from __future__ import annotations

import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from tests.potentials.nequip_standin import R_MAX, SHIFT, STRINGS, by_hand, changed, write_native, write_torchscript
from tests.potentials.nequip_structures import STRUCTURES, crystal, molecule

import shoal
from shoal import BatchCalculator
from shoal.errors import InputError, ModelFileError, UnsupportedRequestError, UnsupportedSpeciesError
from shoal.integrations.ase import ShoalCalculator
from shoal.neighbors import neighbor_list
from shoal.potentials import CompiledNequIP
from shoal.testing import close

ALL = ("energy", "atomic_energy", "forces", "stress", "virial")


@pytest.fixture(scope="module", params=["torchscript", pytest.param("native", marks=pytest.mark.slow)])
def standin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nequip")
    if request.param == "native":
        return write_native(folder / "pair.nequip.pt2")
    return write_torchscript(folder / "pair.nequip.pth")


@pytest.fixture
def calculator(standin: Path) -> BatchCalculator:
    return shoal.load(standin, chemical_species_to_atom_type_map=True)


@pytest.mark.parametrize("case", list(STRUCTURES))
def test_numbers_are_those_of_the_formula(case: str, calculator: BatchCalculator) -> None:
    structures = STRUCTURES[case]()
    state = shoal.io.atoms_to_state(structures)
    results = calculator(state, ALL)
    offsets = state.offsets.tolist()
    for s, atoms in enumerate(structures):
        expected = by_hand(atoms)
        rows = slice(offsets[s], offsets[s + 1])
        close(results["energy"][s], expected["energy"], 1e-12)
        close(results["atomic_energy"][rows], expected["atomic_energy"], 1e-12)
        close(results["forces"][rows], expected["forces"], 1e-12)
        close(results["virial"][s], expected["virial"], 1e-12)
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 0:
            close(results["stress"][s], -expected["virial"] / volume, 1e-12)
        else:
            assert torch.isnan(results["stress"][s]).all()


@pytest.mark.gpu
def test_numbers_on_a_gpu_are_those_of_the_formula(standin: Path) -> None:
    if standin.name.endswith(".pt2"):
        standin = write_native(standin.with_name("cuda.nequip.pt2"), "cuda")
    calculator = shoal.load(standin, device="cuda:0", chemical_species_to_atom_type_map=True)
    for structures in (STRUCTURES["mixed batch"](), STRUCTURES["no edges at all"]()):
        state = shoal.io.atoms_to_state(structures, device="cuda:0")
        results = calculator(state, ALL)
        expected = [by_hand(atoms) for atoms in structures]
        for name in ("energy", "virial"):
            close(results[name], np.stack([values[name] for values in expected]), 1e-12)
        for name in ("atomic_energy", "forces"):
            close(results[name], np.concatenate([values[name] for values in expected]), 1e-12)


def test_an_atom_alone_has_its_shift_and_no_force(calculator: BatchCalculator) -> None:
    results = calculator(shoal.io.atoms_to_state([Atoms("Si"), Atoms("C")]), ALL)
    assert results["energy"].tolist() == list(SHIFT)
    assert not results["forces"].any()
    assert not results["virial"].any()


def test_an_empty_state_gives_empty_results(calculator: BatchCalculator) -> None:
    results = calculator(shoal.io.atoms_to_state([]), ALL)
    assert [tuple(results[name].shape) for name in ALL] == [(0,), (0,), (0, 3), (0, 3, 3), (0, 3, 3)]


def test_cutoffs_per_pair_of_types_prune_by_centre_and_neighbour(standin: Path, tmp_path: Path) -> None:
    cutoffs = {(0, 0): 4.0, (0, 1): 3.0, (1, 0): 2.2, (1, 1): 3.5}
    words = " ".join(str(cutoffs[pair]) for pair in sorted(cutoffs))
    path = changed(standin, tmp_path / standin.name, {"per_edge_type_cutoff": words})
    results = shoal.load(path, chemical_species_to_atom_type_map=True)(shoal.io.atoms_to_state(crystal()), ALL)
    expected = by_hand(crystal(), cutoffs)
    assert abs(expected["energy"] - by_hand(crystal())["energy"]) > 1e-3
    for name in ("energy", "forces", "virial"):
        close(results[name][0] if name != "forces" else results[name], expected[name], 1e-12)


@pytest.mark.parametrize("stretch", [0.9995, 1.0, 1.0005])
def test_a_pair_at_its_own_cutoff_is_in_and_beyond_it_is_out(standin: Path, tmp_path: Path, stretch: float) -> None:
    path = changed(standin, tmp_path / standin.name, {"per_edge_type_cutoff": "4.0 3.0 2.5 3.5"})
    pair = Atoms("SiC", [[0, 0, 0], [2.5 * stretch, 0, 0]])
    energy = shoal.load(path, chemical_species_to_atom_type_map=True)(shoal.io.atoms_to_state(pair))["energy"]
    expected = by_hand(pair, {(0, 0): 4.0, (0, 1): 3.0, (1, 0): 2.5, (1, 1): 3.5})
    close(energy, np.array([expected["energy"]]), 1e-12)


def test_forces_come_where_gradients_are_switched_off(calculator: BatchCalculator) -> None:
    state = shoal.io.atoms_to_state(crystal())
    expected = calculator(state, ALL)
    with torch.no_grad():
        for name, value in calculator(state, ALL).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0, equal_nan=True)


def test_atoms_in_one_place_fail_whatever_is_asked_for(calculator: BatchCalculator) -> None:
    """And only the system that they are in."""
    overlap = Atoms("Si3", [[0, 0, 0], [0, 0, 0], [2, 0, 0]], cell=[8, 8, 8], pbc=True)
    results = shoal.evaluate([overlap, crystal()], calculator, outputs=("energy",), errors="status")
    assert [str(status) for status in results.statuses] == ["non_finite", "done"]
    close(results.energies[1:], np.array([by_hand(crystal())["energy"]]), 1e-12)


def test_a_list_with_skin_changes_nothing(calculator: BatchCalculator) -> None:
    state = shoal.io.atoms_to_state(STRUCTURES["mixed batch"]())
    plain = calculator(state, ALL)
    types = calculator.type_map(state)
    skinned = calculator.potential(state, neighbor_list(state, R_MAX, 1.0), ALL, atom_types=types)
    for name in ALL:
        torch.testing.assert_close(skinned[name], plain[name], rtol=0, atol=1e-12, equal_nan=True)


def test_a_strided_or_float32_state_gives_the_same(calculator: BatchCalculator) -> None:
    state = shoal.io.atoms_to_state([molecule(), crystal()])
    expected = calculator(state, ALL)
    strided = state.replace(positions=state.positions.T.contiguous().T, cell=state.cell.mT.contiguous().mT)
    assert not strided.positions.is_contiguous()
    for name, value in calculator(strided, ALL).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, equal_nan=True)
    single = calculator(state.to(dtype=torch.float32), ALL)
    assert (single["energy"].dtype, single["forces"].dtype) == (torch.float64, torch.float32)
    close(single["forces"], expected["forces"], 1e-5)


def test_a_state_that_wants_gradients_is_left_alone(calculator: BatchCalculator) -> None:
    state = shoal.io.atoms_to_state(crystal())
    expected = calculator(state)
    state = state.replace(positions=state.positions.clone().requires_grad_(True))
    results = calculator(state)
    assert not any(value.requires_grad for value in results.values())
    assert state.positions.grad is None
    close(results["forces"], expected["forces"], 1e-15)


def test_code_never_sees_a_tensor_of_the_wrong_kind(calculator: BatchCalculator) -> None:
    potential, state = calculator.potential, shoal.io.atoms_to_state(crystal())
    neighbors, types = neighbor_list(state, R_MAX), calculator.type_map(state)
    with pytest.raises(InputError, match=r"atom_types must be torch\.int64"):
        potential(state, neighbors, atom_types=types.int())
    with pytest.raises(InputError, match=r"atom types must lie in 0\.\.1"):
        potential(state, neighbors, atom_types=types + 1)
    broken = replace(neighbors, shifts=neighbors.shifts.flatten())
    with pytest.raises(InputError, match="edge_cell_shift must be .* of 2 dimensions"):
        potential(state, broken, atom_types=types)


def test_weighted_energies_are_refused_with_what_can(calculator: BatchCalculator) -> None:
    state = shoal.io.atoms_to_state(crystal())
    weights = torch.ones(state.n_atoms, dtype=torch.float64)
    with pytest.raises(UnsupportedRequestError, match=r"a \.shoal package can"):
        calculator.potential(
            state, neighbor_list(state, R_MAX), atom_types=calculator.type_map(state), energy_weights=weights
        )


def test_an_unknown_element_is_named(calculator: BatchCalculator) -> None:
    with pytest.raises(UnsupportedSpeciesError, match=r"Ge .*system 0, atom 1.*Si, C"):
        calculator(shoal.io.atoms_to_state(Atoms("SiGe", [[0, 0, 0], [2, 0, 0]])))


def test_capabilities_are_what_the_file_can(calculator: BatchCalculator, standin: Path) -> None:
    capabilities = calculator.capabilities
    assert set(capabilities.outputs) == set(ALL)
    assert (capabilities.atomic_types, capabilities.dtype) == (("Si", "C"), "float64")
    assert not capabilities.strictly_local
    assert capabilities.supported_devices == (("cpu",) if standin.name.endswith("pt2") else ("cpu", "cuda"))


def test_everything_that_takes_a_model_takes_the_file(standin: Path, tmp_path: Path) -> None:
    atoms = crystal()
    expected = by_hand(atoms)
    fields = {"chemical_species_to_atom_type_map": True}
    (result,) = shoal.evaluate([atoms], standin, **fields)
    assert float(result.values["energy"]) == pytest.approx(expected["energy"], abs=1e-10)
    compiled = BatchCalculator.from_compiled_model(standin, **fields)
    close(compiled(shoal.io.atoms_to_state(atoms))["forces"], expected["forces"], 1e-12)
    atoms.calc = ShoalCalculator(standin, **fields)
    close(atoms.get_forces(), expected["forces"], 1e-12)
    close(atoms.get_stress(voigt=False), -expected["virial"] / atoms.get_volume(), 1e-12)


def test_loading_and_running_changes_no_global_state(standin: Path) -> None:
    def snapshot() -> tuple[object, ...]:
        return (
            torch.get_default_dtype(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
        )

    torch.manual_seed(7)
    torch.set_default_dtype(torch.float32)
    before = snapshot()
    shoal.load(standin, chemical_species_to_atom_type_map=True)(shoal.io.atoms_to_state([molecule(), crystal()]))
    assert snapshot() == before


def test_a_file_stays_on_the_device_it_was_loaded_on(standin: Path) -> None:
    with pytest.raises(InputError, match="load it again for meta"):
        CompiledNequIP(standin).to("meta")


def test_native_code_that_takes_other_tensors_is_refused(native_silicon: Path, tmp_path: Path) -> None:
    """An older file, which does not name its fields, of a target that Shoal does not run."""
    path = tmp_path / "older.nequip.pt2"
    strings = {**STRINGS, "AOTI_DEVICE_KEY": "cpu"}
    with zipfile.ZipFile(native_silicon) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            target.writestr(info, json.dumps(strings) if info.filename.endswith("_metadata.json") else data)
    with pytest.raises(ModelFileError, match=r"takes 7 tensors and gives 5; expected were 7 and 4; .*nequip-compile"):
        shoal.load(path)


def test_a_model_without_forces_is_refused(tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "energies.nequip.pth", Energies())
    with pytest.raises(ModelFileError, match=r"energies\.nequip\.pth gives no forces, stress"):
        shoal.load(path, chemical_species_to_atom_type_map=True)(shoal.io.atoms_to_state(crystal()))


class Energies(torch.nn.Module):
    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"atomic_energy": data["pos"][:, :1], "total_energy": data["cell"][:, :1, 0]}
