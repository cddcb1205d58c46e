"""A compiled file is the model it was made from, at every number of systems, atoms and edges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from shoal.deploy import compile_model, package_potential, verify
from shoal.deploy.compile import MODES
from shoal.deploy.native import native_kernel
from shoal.engine import BatchCalculator
from shoal.errors import CompileError, InputError, ModelFileError
from shoal.files import ArchitectureSpec, read_metadata, read_package
from shoal.files.reference import tensors_to_structures
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import CompiledPotential, LearnedPotential
from shoal.state import SimState

ALL = ("energy", "forces", "stress", "virial", "atomic_energy")


def water_structures() -> dict[str, list[Atoms]]:
    water, peroxide = molecule("H2O"), molecule("H2O2")
    ice = Atoms(
        "OH2OH2", positions=[[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0], [2.5, 1, 1], [3.2, 1.6, 1], [1.9, 1.8, 1]]
    )
    ice.set_cell([[5.0, 0, 0], [1.5, 4.6, 0], [0.7, -0.9, 4.4]])
    ice.pbc = True
    slab = ice.copy()
    slab.pbc = (True, True, False)
    slab.cell[2] = 0
    mirror = ice.copy()
    mirror.set_cell(ice.cell.array[[1, 0, 2]])
    return {
        "one atom": [Atoms("O")],
        "one molecule": [water],
        "no edges at all": [Atoms("O"), Atoms("H", positions=[[1.0, 2.0, 3.0]])],
        "triclinic": [ice],
        "left-handed": [mirror],
        "slab without third vector": [slab],
        "mixed batch": [water, ice, slab, Atoms("H"), peroxide, mirror, water],
        "large batch": [water, ice] * 40,
    }


def evaluate(calculator: BatchCalculator, structures: list[Atoms]) -> dict[str, torch.Tensor]:
    return calculator(atoms_to_state(structures), ALL)


@pytest.mark.parametrize("case", list(water_structures()))
def test_compiled_equals_eager_in_float64(case: str, compiled_water: Path, water: LearnedPotential) -> None:
    structures = water_structures()[case]
    got = evaluate(BatchCalculator.from_compiled_model(compiled_water), structures)
    want = evaluate(BatchCalculator.from_potential(water), structures)
    for name in ALL:
        assert got[name].dtype == torch.float64
        torch.testing.assert_close(got[name], want[name], rtol=0, atol=1e-10, equal_nan=True)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_the_numbers_of_one(compiled_water: Path) -> None:
    structures, calculator = water_structures()["large batch"], BatchCalculator.from_compiled_model(compiled_water)
    on_two = evaluate(calculator, structures)
    torch.set_num_threads(1)
    on_one = evaluate(calculator, structures)
    for name in ALL:
        torch.testing.assert_close(on_two[name], on_one[name], rtol=0, atol=1e-11, equal_nan=True)


def test_isolated_atom_has_its_shift_and_no_force(compiled_water: Path) -> None:
    results = evaluate(BatchCalculator.from_compiled_model(compiled_water), [Atoms("O"), Atoms("H")])
    assert results["energy"].tolist() == pytest.approx([-5.5, -4.0], abs=1e-12)
    assert not results["forces"].any()


def test_empty_state_gives_empty_results(compiled_water: Path) -> None:
    results = BatchCalculator.from_compiled_model(compiled_water)(atoms_to_state([]), ALL)
    assert {name: tuple(value.shape) for name, value in results.items()} == {
        "energy": (0,),
        "forces": (0, 3),
        "stress": (0, 3, 3),
        "virial": (0, 3, 3),
        "atomic_energy": (0,),
    }


def test_forces_are_central_differences_of_the_compiled_energy(compiled_water: Path) -> None:
    calculator = BatchCalculator.from_compiled_model(compiled_water)
    atoms = water_structures()["triclinic"][0]
    forces = evaluate(calculator, [atoms])["forces"].numpy()
    step, displaced = 1e-4, []
    for atom in range(len(atoms)):
        for axis in range(3):
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                displaced.append(moved)
    energies = evaluate(calculator, displaced)["energy"].numpy().reshape(len(atoms), 3, 2)
    np.testing.assert_allclose(forces, -(energies[:, :, 0] - energies[:, :, 1]) / (2 * step), atol=1e-6)


def test_stress_is_the_central_difference_of_the_compiled_energy_in_strain(compiled_water: Path) -> None:
    calculator = BatchCalculator.from_compiled_model(compiled_water)
    atoms = water_structures()["left-handed"][0]
    stress = evaluate(calculator, [atoms])["stress"][0].numpy()
    step, strained = 1e-4, []
    for a in range(3):
        for b in range(3):
            for sign in (1, -1):
                strain = np.eye(3)
                strain[a, b] += sign * step
                copy = atoms.copy()
                copy.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                strained.append(copy)
    energies = evaluate(calculator, strained)["energy"].numpy().reshape(3, 3, 2)
    volume = abs(np.linalg.det(atoms.cell.array))
    np.testing.assert_allclose(stress, (energies[:, :, 0] - energies[:, :, 1]) / (2 * step) / volume, atol=1e-6)


def test_energy_weights_select_whose_energy_is_differentiated(compiled_water: Path) -> None:
    potential = CompiledPotential(compiled_water)
    state = atoms_to_state(water_structures()["mixed batch"])
    neighbors = neighbor_list(state, potential.cutoff)
    types = potential.type_map()(state)
    mask = (torch.arange(state.n_atoms) % 3 == 0).to(torch.float64)

    def forces(weights: torch.Tensor) -> torch.Tensor:
        return potential(state, neighbors, ("forces",), atom_types=types, energy_weights=weights)["forces"]

    torch.testing.assert_close(forces(mask) + forces(1 - mask), forces(torch.ones_like(mask)), rtol=0, atol=1e-12)
    step = 1e-4
    moved = [state.positions.clone() for _ in range(2)]
    moved[0][4, 1] += step
    moved[1][4, 1] -= step
    energies = [
        (
            mask
            * potential(state.replace(positions=p), neighbors, ("atomic_energy",), atom_types=types)["atomic_energy"]
        ).sum()
        for p in moved
    ]
    assert float(forces(mask)[4, 1]) == pytest.approx(-float(energies[0] - energies[1]) / (2 * step), abs=1e-6)


def test_a_list_with_skin_changes_nothing(compiled_water: Path) -> None:
    potential = CompiledPotential(compiled_water)
    state = atoms_to_state(water_structures()["mixed batch"])
    plain = potential(state, neighbor_list(state, potential.cutoff), ALL)
    skinned = potential(state, neighbor_list(state, potential.cutoff, skin=1.0), ALL)
    for name in ALL:
        torch.testing.assert_close(skinned[name], plain[name], rtol=0, atol=1e-12, equal_nan=True)


def test_float32_and_non_contiguous_states_are_converted_not_misread(compiled_silicon: Path) -> None:
    calculator = BatchCalculator.from_compiled_model(compiled_silicon, chemical_species_to_atom_type_map=True)
    slab = fcc111("Cu", (2, 2, 2), a=4.2, vacuum=None)
    slab.numbers[:] = 14
    state = atoms_to_state([bulk("Si", cubic=True), slab])
    expected = calculator(state)

    def strided(tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    turned = state.replace(
        positions=state.positions.mT.contiguous().mT,
        cell=strided(state.cell),
        atomic_numbers=strided(state.atomic_numbers),
    )
    assert not turned.positions.is_contiguous()
    assert not turned.cell.is_contiguous()
    for name, value in calculator(turned).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, equal_nan=True)

    single = calculator(state.to(dtype=torch.float32))
    assert single["forces"].dtype == torch.float32
    assert single["energy"].dtype == torch.float64
    torch.testing.assert_close(single["energy"], expected["energy"], rtol=0, atol=1e-4)
    torch.testing.assert_close(single["forces"].double(), expected["forces"], rtol=0, atol=1e-4)


def test_native_code_never_sees_a_tensor_of_the_wrong_dtype(compiled_silicon: Path) -> None:
    potential = CompiledPotential(compiled_silicon)
    state = atoms_to_state([bulk("Si", cubic=True)])
    neighbors = neighbor_list(state, potential.cutoff)
    wrong = torch.zeros(state.n_atoms, dtype=torch.int32)
    with pytest.raises(InputError, match="atom_types must be torch.int64"):
        potential(state, neighbors, atom_types=wrong)
    with pytest.raises(InputError, match="atom types must lie in 0..0"):
        potential(state, neighbors, atom_types=torch.full((state.n_atoms,), 118))


def test_loading_and_running_changes_no_global_state(compiled_silicon: Path) -> None:
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state())
    calculator = BatchCalculator.from_compiled_model(compiled_silicon, chemical_species_to_atom_type_map=True)
    calculator(atoms_to_state([bulk("Si")]))
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_metadata_records_what_was_measured(compiled_silicon: Path, silicon_package: Path) -> None:
    metadata = read_metadata(compiled_silicon)
    assert (metadata.target, metadata.device, metadata.model_dtype) == ("batch", "cpu", "float32")
    assert metadata.type_names == ("Si",)
    quantities = {f"{q}{s}" for q in verify.QUANTITIES for s in ("", "_float64")}
    assert set(metadata.verified) == quantities
    assert 0 < metadata.verified["forces_float64"] < 5e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "cuda-graphs"}, "mode 'cuda-graphs' is unknown"),
        ({"target": "ase"}, "target 'ase' is unknown; the only target is batch"),
        ({"out": "x.pt2"}, r"ends in \.shoal\.pt2"),
        ({"mode": "torchscript"}, r"ends in \.shoal\.pth for mode torchscript"),
        ({"out": "missing/x.shoal.pt2"}, "no such folder"),
    ],
)
def test_wrong_requests_are_refused_by_name(
    changes: dict[str, str], message: str, silicon_package: Path, tmp_path: Path
) -> None:
    arguments = {"out": "x.shoal.pt2", **changes}
    out = tmp_path / arguments.pop("out")
    with pytest.raises(InputError, match=message):
        compile_model(silicon_package, out, **arguments)


def test_a_file_that_differs_from_its_model_is_not_written(
    silicon_package: Path, compiled_silicon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = read_metadata(compiled_silicon)
    mode = "aotinductor" if metadata.mode == "native" else metadata.mode

    def write_another_model(potential: LearnedPotential, device: torch.device, out: Path) -> None:
        out.write_bytes(other.read_bytes())

    other = tmp_path / f"other{MODES[mode].ending}"
    package = read_package(silicon_package)
    potential = LearnedPotential.from_package(package)
    with torch.no_grad():
        for tensor in potential.model.state_dict().values():
            tensor.mul_(1.01)
    if metadata.kernel == "native":
        files = native_kernel(potential, 256)
        monkeypatch.setattr(sys.modules["shoal.deploy.compile"], "native_kernel", lambda *_: files)
    else:
        other.write_bytes(compiled_silicon.read_bytes())
        monkeypatch.setitem(MODES, mode, MODES[mode]._replace(write=write_another_model))
        structures, atom_types = tensors_to_structures(package.reference)
        silicon_package = package_potential(potential, tmp_path / "other.shoal", structures, atom_types)
    before = set(tmp_path.iterdir())
    with pytest.raises(CompileError, match="differs by .* from the eager model"):
        compile_model(silicon_package, tmp_path / f"x{MODES[mode].ending}", mode=mode, kernel=metadata.kernel)
    assert set(tmp_path.iterdir()) == before


def test_without_a_compiler_the_error_says_so_and_the_package_still_works(
    silicon_package: Path, tmp_path: Path
) -> None:
    script = (
        "import sys, shoal\n"
        "from shoal.errors import CompileError\n"
        "try:\n"
        "    shoal.compile_model(sys.argv[1], sys.argv[2])\n"
        "except CompileError as error:\n"
        "    print('CAUGHT', error)\n"
    )
    (tmp_path / "bin").mkdir()
    environment = {
        **os.environ,
        "PATH": str(tmp_path / "bin"),
        "CXX": "no-such-compiler",
        "SHOAL_CACHE_DIR": str(tmp_path / "cache"),
    }
    run = subprocess.run(
        [sys.executable, "-c", script, str(silicon_package), str(tmp_path / "x.shoal.pt2")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "CAUGHT" in run.stdout
    assert "no working C++ compiler" in run.stdout
    assert "works without compiling" in run.stdout
    assert not (tmp_path / "x.shoal.pt2").exists()
    eager = BatchCalculator.from_package(silicon_package, chemical_species_to_atom_type_map=True)
    assert torch.isfinite(eager(atoms_to_state([bulk("Si")]))["energy"]).all()


def test_compiling_a_compiled_file_is_refused(compiled_silicon: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="compiled already"):
        compile_model(compiled_silicon, tmp_path / "again.shoal.pt2")


def test_types_by_label_reach_the_compiled_model(compiled_water: Path) -> None:
    calculator = BatchCalculator.from_compiled_model(compiled_water)
    labelled = Atoms("C")
    labelled.arrays["type_label"] = np.array(["O_water"])
    state: SimState = atoms_to_state([labelled])
    assert float(calculator(state)["energy"][0]) == pytest.approx(-5.5, abs=1e-12)


def test_the_same_call_gives_the_same_bits(compiled_silicon: Path) -> None:
    calculator = BatchCalculator.from_compiled_model(compiled_silicon, chemical_species_to_atom_type_map=True)
    state = atoms_to_state([bulk("Si", cubic=True) * (2, 2, 2) for _ in range(8)])
    noise = torch.randn(state.positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = state.replace(positions=state.positions + 0.1 * noise)
    first = calculator(state)
    for _ in range(5):
        for name, value in calculator(state).items():
            assert torch.equal(value, first[name])


@pytest.mark.parametrize("wrong", ["energy", "virial", "nan"])
def test_the_gate_sees_every_output_even_of_molecules(
    wrong: str, water_package: Path, compiled_water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = CompiledPotential(compiled_water)
    honest = compiled.only

    def spoilt(*arguments: object) -> dict[str, torch.Tensor]:
        outputs = {name: value.clone() for name, value in honest(*arguments).items()}  # type: ignore[arg-type]
        for name in outputs if wrong == "nan" else [wrong]:
            outputs[name] *= float("nan") if wrong == "nan" else 1.5
        return outputs

    package = read_package(water_package)
    structures, types = tensors_to_structures(package.reference)
    assert not structures.pbc.any()
    verify.verify(compiled, LearnedPotential.from_package(package), structures, types)
    monkeypatch.setattr(compiled, "only", spoilt)
    with pytest.raises(CompileError, match="differs by"):
        verify.verify(compiled, LearnedPotential.from_package(package), structures, types)


@pytest.mark.parametrize("name", ["atom_types", "energy_weights"])
@pytest.mark.parametrize("length", [1, 3, 12])
def test_inputs_of_another_length_never_reach_native_code(name: str, length: int, compiled_silicon: Path) -> None:
    potential = CompiledPotential(compiled_silicon)
    state = atoms_to_state([bulk("Si", cubic=True)])
    neighbors = neighbor_list(state, potential.cutoff)
    given = {"atom_types": torch.zeros(8, dtype=torch.int64), "energy_weights": torch.ones(8, dtype=torch.float64)}
    given[name] = given[name].new_ones(length)
    with pytest.raises(InputError, match=f"{name} must have shape"):
        potential(state, neighbors, **given)


def test_a_list_of_another_state_is_refused(compiled_silicon: Path) -> None:
    potential = CompiledPotential(compiled_silicon)
    large, small = bulk("Si", cubic=True), bulk("Si")
    neighbors = neighbor_list(atoms_to_state([large, small]), potential.cutoff)
    types = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(InputError, match="another state"):
        potential(atoms_to_state([small, large]), neighbors, atom_types=types)


@pytest.mark.slow
def test_two_types_with_l_max_2_and_neighbours_per_type_compile(tmp_path: Path) -> None:
    config = {"cutoff": 3.5, "type_names": ["H", "O"], "mean_neighbors": [3.0, 5.0], "num_layers": 3, "l_max": 2}
    config |= {"num_features": 4, "radial_mlp_width": 8, "model_dtype": "float64"}
    potential = LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map={"H": "H", "O": "O"})
    state = atoms_to_state(water_structures()["mixed batch"])
    package = package_potential(potential, tmp_path / "m.shoal", state, potential.type_map()(state))
    metadata = compile_model(package, tmp_path / "m.shoal.pt2")
    assert metadata.verified["forces"] <= 1e-10
