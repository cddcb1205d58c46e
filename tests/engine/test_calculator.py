"""One call, many systems: results do not depend on batch-mates, and wrong input is named."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import shoal
from shoal.engine import BatchCalculator
from shoal.errors import InputError, ModelFileError, ShoalWarning, UnsupportedRequestError, UnsupportedSpeciesError
from shoal.io import atoms_to_state
from shoal.potentials import LearnedPotential, LennardJones, Sum
from shoal.testing import close

ALL = ("energy", "forces", "stress", "virial", "atomic_energy")


def mixed() -> list[Atoms]:
    """Molecules, a crystal and a slab of argon and neon, of different size and periodicity."""
    rng = np.random.default_rng(0)
    dimer = Atoms("ArNe", positions=[[0, 0, 0], [3.4, 0.2, 0.1]])
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    slab = bulk("Ne", "fcc", a=4.6, cubic=True) * (2, 2, 1)
    slab.pbc = (True, True, False)
    skew = bulk("Ar", "fcc", a=5.3)
    structures = [dimer, crystal, Atoms("Ne"), slab, skew]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    return structures


def argon_neon() -> LennardJones:
    return LennardJones({"Ar": (0.0104, 3.4), "Ne": (0.0031, 2.75)}, 6.0)


def calculators() -> dict[str, BatchCalculator]:
    two = Sum(argon_neon(), LennardJones({"Ne": (0.001, 2.0), "Ar": (0.002, 2.5)}, 4.0, "shift"))
    return {"LennardJones": BatchCalculator(argon_neon()), "Sum": BatchCalculator(two)}


@pytest.mark.parametrize("name", list(calculators()))
def test_a_system_never_feels_its_batch_mates(name: str) -> None:
    calculator, structures = calculators()[name], mixed()
    together = calculator(atoms_to_state(structures), ALL)
    backwards = calculator(atoms_to_state(structures[::-1]), ALL)
    atom = 0
    for s, atoms in enumerate(structures):
        alone = calculator(atoms_to_state([atoms]), ALL)
        for key in ALL:
            rows = slice(atom, atom + len(atoms)) if key in ("forces", "atomic_energy") else slice(s, s + 1)
            got, want = together[key][rows], alone[key]
            assert torch.equal(torch.isnan(got), torch.isnan(want))
            close(torch.nan_to_num(got), torch.nan_to_num(want), 1e-12)
        torch.testing.assert_close(backwards["energy"][-1 - s], together["energy"][s], rtol=0, atol=1e-12)
        atom += len(atoms)


def test_compiled_model_in_a_batch_equals_each_alone(compiled_water: Path) -> None:
    calculator = shoal.load(compiled_water)
    structures = [molecule("H2O"), molecule("H2O2"), Atoms("O"), molecule("H2O")]
    structures[3].set_cell(np.eye(3) * 4)
    structures[3].pbc = True
    together = calculator(atoms_to_state(structures))
    alone = torch.cat([calculator(atoms_to_state([atoms]))["energy"] for atoms in structures])
    close(together["energy"], alone, 1e-12)


def test_results_return_on_the_states_device_and_dtype() -> None:
    state = atoms_to_state(mixed(), dtype=torch.float32)
    results = BatchCalculator(argon_neon())(state, ALL)
    assert results["energy"].dtype == results["atomic_energy"].dtype == torch.float64
    assert results["forces"].dtype == results["stress"].dtype == torch.float32


@pytest.mark.parametrize("field", ["positions", "cell"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_state_is_named_before_anything_runs(field: str, value: float) -> None:
    state = atoms_to_state(mixed())
    tensor = getattr(state, field).clone()
    index = (7, 1) if field == "positions" else (3, 1, 1)
    tensor[index] = value
    named = {"positions": "system 3: the position of atom 0", "cell": "system 3: its cell"}[field]
    with pytest.raises(InputError, match=named):
        BatchCalculator(argon_neon())(state.replace(**{field: tensor}))


def test_an_unknown_element_is_named_with_system_and_atom() -> None:
    with pytest.raises(UnsupportedSpeciesError, match=r"O \(system 1, atom 0\).*Ar, Ne"):
        BatchCalculator(argon_neon())(atoms_to_state([Atoms("Ar"), molecule("H2O")]))


def test_a_request_it_cannot_serve_names_what_it_can() -> None:
    with pytest.raises(UnsupportedRequestError, match="charges.*energy, forces"):
        BatchCalculator(argon_neon())(atoms_to_state(mixed()), ("energy", "charges"))


def test_type_map_argument(silicon_package: Path, water_package: Path) -> None:
    with pytest.warns(ShoalWarning, match="chemical_species_to_atom_type_map was not given") as caught:
        BatchCalculator.from_package(silicon_package)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BatchCalculator.from_package(silicon_package, chemical_species_to_atom_type_map=True)
        carbon = BatchCalculator.from_package(
            silicon_package, chemical_species_to_atom_type_map={"C": "Si", "Ge": "Si"}
        )
        stored = BatchCalculator.from_package(water_package)
    assert stored.type_map.species == {"H": "hydrogen_like", "O": "O_water"}
    crystal = bulk("Si", cubic=True)
    disguised = crystal.copy()
    disguised.symbols[:4] = "C"
    disguised.symbols[4:] = "Ge"
    plain = BatchCalculator.from_package(silicon_package, chemical_species_to_atom_type_map=True)
    assert torch.equal(carbon(atoms_to_state([disguised]))["energy"], plain(atoms_to_state([crystal]))["energy"])
    with pytest.raises(UnsupportedSpeciesError, match="Si .*C, Ge"):
        carbon(atoms_to_state([crystal]))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (False, "must be omitted, True, or a dict.*False.*Si"),
        ("Si", "must be omitted, True, or a dict"),
        ({"Si": "silicon"}, "'Si' to 'silicon', which is no type of this model; its types: Si"),
        ({"Sii": "Si"}, "'Sii' is no chemical symbol .did you mean 'Si'"),
    ],
)
def test_a_wrong_map_names_both_sides(argument: object, message: str, compiled_silicon: Path) -> None:
    with pytest.raises(ValueError, match=message):
        BatchCalculator.from_compiled_model(compiled_silicon, chemical_species_to_atom_type_map=argument)


def test_true_needs_types_that_are_elements(water_package: Path) -> None:
    with pytest.raises(ValueError, match="hydrogen_like, O_water are not"):
        BatchCalculator.from_package(water_package, chemical_species_to_atom_type_map=True)


def test_from_compiled_model_refuses_a_package(silicon_package: Path) -> None:
    with pytest.raises(ModelFileError, match="no compiled model"):
        BatchCalculator.from_compiled_model(silicon_package)


def test_a_calculator_can_be_made_of_anything_that_is_one(silicon: LearnedPotential, silicon_package: Path) -> None:
    state = atoms_to_state([bulk("Si", cubic=True)])
    first = BatchCalculator.of(silicon, chemical_species_to_atom_type_map=True)
    second = BatchCalculator.of(silicon_package, chemical_species_to_atom_type_map=True)
    assert BatchCalculator.of(first) is first
    assert torch.equal(first(state)["energy"], second(state)["energy"])
    with pytest.raises(InputError, match="already has"):
        BatchCalculator.of(first, device="cpu")


def test_a_structure_that_is_not_packed_is_answered_with_how_to() -> None:
    with pytest.raises(InputError, match="takes a shoal.SimState, got ase.atoms.Atoms; shoal.io.atoms_to_state"):
        BatchCalculator(argon_neon())(bulk("Ar"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "message"), [("cdua", "unknown device 'cdua'"), ("cuda:4096", "no GPU here|does not exist")]
)
def test_a_device_that_is_not_there_is_named(device: str, message: str, silicon_package: Path) -> None:
    with pytest.raises(InputError, match=message):
        shoal.load(silicon_package, device=device, chemical_species_to_atom_type_map=True)
    with pytest.raises(InputError, match=message):
        atoms_to_state([bulk("Ar")], device=device)
    with pytest.raises(InputError, match=message):
        BatchCalculator(argon_neon(), device=device)


def test_a_cpu_file_asked_to_run_on_cuda_says_how_to_compile_it(compiled_silicon: Path) -> None:
    with pytest.raises(ModelFileError, match="compiled for cpu, asked to run on cuda.*--device cuda"):
        shoal.load(compiled_silicon, device="cuda", chemical_species_to_atom_type_map=True)


def test_a_compiled_file_stays_where_it_was_loaded(compiled_silicon: Path) -> None:
    potential = shoal.load(compiled_silicon, chemical_species_to_atom_type_map=True).potential
    assert potential.to("cpu") is potential
    with pytest.raises(InputError, match="was loaded on cpu; load it again for meta"):
        potential.to("meta")


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu", 0)])
def test_the_cpu_by_any_index_is_the_cpu(compiled_silicon: Path, device: str | torch.device) -> None:
    assert shoal.load(compiled_silicon, device=device, chemical_species_to_atom_type_map=True).device == torch.device(
        "cpu"
    )


@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_a_device_that_is_none_is_named(compiled_silicon: Path, silicon_package: Path, device: str) -> None:
    for path in (compiled_silicon, silicon_package):
        with pytest.raises(InputError, match=f"unknown device '{device}'"):
            BatchCalculator.of(path, device=device)


def test_types_are_looked_up_anew_when_the_atoms_change(silicon_package: Path) -> None:
    """They are kept while the atoms are the same tensor; an element put into it in place is noticed."""
    calculator = shoal.load(silicon_package, chemical_species_to_atom_type_map=True)
    state = shoal.io.atoms_to_state(bulk("Si"))
    first = calculator(state)["energy"]
    assert torch.equal(calculator(state)["energy"], first)
    state.atomic_numbers[0] = 6
    with pytest.raises(UnsupportedSpeciesError, match="C .system 0, atom 0"):
        calculator(state)


def test_inference_mode_is_named_where_forces_need_gradients(silicon_package: Path) -> None:
    calculator = shoal.load(silicon_package, chemical_species_to_atom_type_map=True)
    with torch.inference_mode(), pytest.raises(InputError, match="use torch.no_grad"):
        calculator(shoal.io.atoms_to_state(bulk("Si")))
