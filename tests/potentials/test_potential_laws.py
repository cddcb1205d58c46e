"""Laws that every potential keeps, on crystals of any cell, slabs, wires, clusters and single atoms in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from shoal.contract import QUANTITIES
from shoal.deploy import compile_model, package_potential
from shoal.errors import InputError, UnsupportedRequestError, UnsupportedSpeciesError
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import (
    Committee,
    CompiledPotential,
    LearnedPotential,
    LennardJones,
    Potential,
    StillingerWeber,
    Sum,
)
from shoal.state import SimState
from shoal.testing import close

Values = dict[str, torch.Tensor]


class Case(NamedTuple):
    """A potential and a cubic crystal near its equilibrium, species mixed if it knows several."""

    make: Callable[[], Potential]
    crystal: Atoms


def _mixed_fcc() -> Atoms:
    atoms = bulk("Ar", "fcc", a=3.7, cubic=True)
    atoms.symbols[[1, 2]] = "Kr"
    return atoms


def _lennard_jones(truncation: str) -> Potential:
    return LennardJones({"Ar": (0.8, 2.3), "Kr": (1.1, 2.6)}, 5.6, truncation)  # type: ignore[arg-type]


def _nequip(seed: int = 1) -> LearnedPotential:
    config = {
        "cutoff": 3.6,
        "type_names": ["Ar", "Kr"],
        "mean_neighbors": 12.0,
        "num_layers": 2,
        "l_max": 1,
        "num_features": 6,
        "radial_mlp_width": 8,
        "model_dtype": "float64",
        "seed": seed,
    }
    return LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map=IDENTITY)


def _allegro() -> LearnedPotential:
    config = {
        "cutoff": 4.0,
        "type_names": ["Ar", "Kr"],
        "mean_neighbors": 16.0,
        "num_scalar_features": 8,
        "num_tensor_features": 4,
        "model_dtype": "float64",
    }
    return LearnedPotential(ArchitectureSpec(name="allegro", config=config), species_map=IDENTITY)


@cache
def _torchscript() -> Potential:
    eager, state = _nequip(), atoms_to_state(_mixed_fcc())
    with TemporaryDirectory() as folder:
        package = package_potential(eager, Path(folder) / "m.shoal", state, eager.type_map()(state))
        compile_model(package, Path(folder) / "m.shoal.pth", mode="torchscript")
        return CompiledPotential(Path(folder) / "m.shoal.pth")


IDENTITY = {"Ar": "Ar", "Kr": "Kr"}
SILICON = bulk("Si", cubic=True, a=5.43)
CASES = {
    "Lennard-Jones, cut": Case(lambda: _lennard_jones("none"), _mixed_fcc()),
    "Lennard-Jones, shifted": Case(lambda: _lennard_jones("shift"), _mixed_fcc()),
    "Lennard-Jones, switched": Case(lambda: _lennard_jones("switch"), _mixed_fcc()),
    "Stillinger-Weber": Case(StillingerWeber, SILICON),
    "Sum": Case(lambda: Sum(StillingerWeber(), LennardJones({"Ge": (1, 1), "Si": (0.3, 2.1)}, 5.0)), SILICON),
    "NequIP": Case(_nequip, _mixed_fcc()),
    "Allegro": Case(_allegro, _mixed_fcc()),
    "Committee": Case(lambda: Committee([_nequip(1), _nequip(2), _allegro()]), _mixed_fcc()),
    "NequIP, TorchScript": Case(_torchscript, _mixed_fcc()),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    made = CASES[request.param]
    potential = made.make()
    return Case(lambda: potential, made.crystal)


SKEWED = np.array([[1.0, 0.0, 0.0], [0.3, 0.95, 0.0], [-0.2, 0.25, 1.05]])


def structures(crystal: Atoms, seed: int = 0) -> dict[str, Atoms]:
    """One of each kind, rattled."""
    skewed = crystal.copy()
    skewed.set_cell(crystal.cell.array @ SKEWED, scale_atoms=True)
    mirrored = skewed.copy()
    mirrored.set_cell(skewed.cell.array[[1, 0, 2]])
    slab = skewed.copy()
    slab.pbc = (True, True, False)
    slab.cell[2] = 0
    wire = skewed.copy()
    wire.pbc = (False, False, True)
    cluster = crystal.copy()
    cluster.pbc = False
    cluster.cell[:] = 0
    small = Atoms(crystal.symbols[:1], cell=2.6 * SKEWED, pbc=True)
    made = {
        "crystal": crystal,
        "skewed": skewed,
        "left-handed": mirrored,
        "slab": slab,
        "wire": wire,
        "cluster": cluster,
        "one-atom cell": small,
    }
    generator = np.random.default_rng(seed)
    out = {}
    for name, atoms in made.items():
        out[name] = atoms.copy()
        out[name].positions += generator.normal(0, 0.08, (len(atoms), 3))
    return out


KINDS = tuple(structures(SILICON))


def evaluate(
    potential: Potential,
    structures: SimState | Atoms | Iterable[Atoms],
    weights: torch.Tensor | None = None,
) -> Values:
    state = structures if isinstance(structures, SimState) else atoms_to_state(structures)  # type: ignore[arg-type]
    return potential(state, neighbor_list(state, potential.cutoff), QUANTITIES, energy_weights=weights)


def rows(values: torch.Tensor, per: int) -> np.ndarray:
    """Per-atom values of equal systems, by system."""
    return values.numpy().reshape(-1, per, *values.shape[1:])


STEP = 1e-4


def displaced(atoms: Atoms) -> list[Atoms]:
    """Every coordinate moved forward and back."""
    out = []
    for k in range(3 * len(atoms)):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.flat[k] += sign * STEP
            out.append(moved)
    return out


def strained(atoms: Atoms) -> list[Atoms]:
    """Every component of the strain, r' = r (1 + strain), forward and back."""
    out = []
    for k in range(9):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain.flat[k] = sign * STEP
            moved = atoms.copy()
            moved.positions += atoms.positions @ strain
            moved.set_cell(atoms.cell.array + atoms.cell.array @ strain)
            out.append(moved)
    return out


def slopes(energies: np.ndarray) -> np.ndarray:
    """Central differences of energies that come in pairs, forward and back."""
    return (energies[0::2] - energies[1::2]) / (2 * STEP)


@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_minus_the_slope_of_the_energy(case: Case, kind: str) -> None:
    potential, atoms = case.make(), structures(case.crystal)[kind]
    slope = slopes(evaluate(potential, displaced(atoms))["energy"].numpy())
    close(evaluate(potential, atoms)["forces"], -slope.reshape(-1, 3), 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_virial_is_minus_the_slope_in_strain_and_stress_is_that_per_volume(case: Case, kind: str) -> None:
    potential, atoms = case.make(), structures(case.crystal)[kind]
    slope = slopes(evaluate(potential, strained(atoms))["energy"].numpy()).reshape(3, 3)
    values = evaluate(potential, atoms)
    close(values["virial"][0], -slope, 1e-6)
    volume = abs(np.linalg.det(atoms.cell.array))
    if volume:
        close(values["stress"][0], slope / volume, 1e-6)
        close(values["stress"][0], values["stress"][0].T, 1e-12)
    else:
        assert values["stress"].isnan().all()


FLAT = {
    "dependent vectors, none periodic": ([[1.1, 2.3, 3.7], [4.2, 0.6, 1.4], [3.27, 1.11, 2.09]], (False, False, False)),
    "a slab's third vector in its plane": ([[6.1, 0.7, 0.2], [0.4, 5.9, 1.3], [6.5, 6.6, 1.5]], (True, True, False)),
}


@pytest.mark.parametrize("name", FLAT)
def test_a_cell_that_is_flat_but_for_rounding_has_no_stress(case: Case, name: str) -> None:
    cell, pbc = FLAT[name]
    atoms = Atoms(case.crystal.symbols[:2], [[0, 0, 0], [1.3, 1.1, 1.7]], cell=cell, pbc=pbc)
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    values = evaluate(case.make(), atoms)
    assert 0 < abs(np.linalg.det(atoms.cell.array)) < 1e-12
    assert values["stress"].isnan().all()
    assert values["virial"].isfinite().all()
    assert values["virial"].abs().max() > 0


@pytest.mark.parametrize("kind", ["skewed", "slab"])
def test_weights_give_the_derivatives_of_the_weighted_energies(case: Case, kind: str) -> None:
    potential, atoms = case.make(), structures(case.crystal)[kind]
    n = len(atoms)
    energies = rows(evaluate(potential, displaced(atoms))["atomic_energy"], n)
    under_strain = rows(evaluate(potential, strained(atoms))["atomic_energy"], n)
    plain = evaluate(potential, atoms)
    some = np.arange(n) % 3 == 0
    for weights in (some.astype(float), np.random.default_rng(0).normal(size=n), np.zeros(n)):
        values = evaluate(potential, atoms, torch.as_tensor(weights))
        close(values["forces"], -slopes(energies @ weights).reshape(-1, 3), 1e-6)
        close(values["virial"][0], -slopes(under_strain @ weights).reshape(3, 3), 1e-6)
        close(values["energy"], plain["energy"], 0)
        close(values["atomic_energy"], plain["atomic_energy"], 0)


@pytest.fixture(scope="module")
def mixed(case: Case) -> tuple[SimState, Values]:
    """All kinds in one batch."""
    state = atoms_to_state(list(structures(case.crystal).values()))
    return state, evaluate(case.make(), state)


def test_atomic_energies_sum_to_the_energy(mixed: tuple[SimState, Values]) -> None:
    state, values = mixed
    parts = values["atomic_energy"].split(state.n_atoms_per_system.tolist())
    close(values["energy"], torch.stack([part.sum() for part in parts]), 1e-12)


def test_forces_of_a_system_sum_to_zero(mixed: tuple[SimState, Values]) -> None:
    state, values = mixed
    for part in values["forces"].split(state.n_atoms_per_system.tolist()):
        close(part.sum(0), np.zeros(3), 1e-12, scale=float(part.abs().max()))


def test_stress_is_minus_virial_per_volume_and_the_virial_is_always_finite(mixed: tuple[SimState, Values]) -> None:
    state, values = mixed
    volume = np.abs(np.linalg.det(state.cell.numpy()))
    assert values["virial"].isfinite().all()
    for s in range(state.n_systems):
        if volume[s]:
            close(values["stress"][s], -values["virial"][s].numpy() / volume[s], 1e-12)
        else:
            assert values["stress"][s].isnan().all()


@pytest.mark.parametrize("order", [1, -1])
def test_a_system_does_not_feel_its_batch_mates(case: Case, order: int) -> None:
    frames = list(structures(case.crystal).values())[::order]
    together = evaluate(case.make(), frames)
    start = 0
    for s, atoms in enumerate(frames):
        alone = evaluate(case.make(), atoms)
        own = slice(start, start + len(atoms))
        start += len(atoms)
        close(together["energy"][s] / len(atoms), alone["energy"][0] / len(atoms), 1e-12)
        close(together["atomic_energy"][own], alone["atomic_energy"], 1e-12)
        close(together["forces"][own], alone["forces"], 1e-12)
        close(together["virial"][s], alone["virial"][0], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_atoms_does_not_matter(case: Case, kind: str) -> None:
    atoms = structures(case.crystal)[kind]
    order = np.random.default_rng(3).permutation(len(atoms))
    here, there = evaluate(case.make(), atoms), evaluate(case.make(), atoms[order])
    close(there["energy"], here["energy"], 1e-12)
    close(there["atomic_energy"], here["atomic_energy"][order], 1e-12)
    close(there["forces"], here["forces"][order], 1e-12)
    close(there["virial"], here["virial"], 1e-12)


@pytest.mark.parametrize("handedness", [1, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_quantities_turn_with_the_structure(case: Case, kind: str, handedness: int) -> None:
    atoms = structures(case.crystal)[kind]
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    rotation *= handedness * np.sign(np.linalg.det(rotation))
    turned = atoms.copy()
    turned.positions = atoms.positions @ rotation
    turned.set_cell(atoms.cell.array @ rotation)
    here, there = evaluate(case.make(), atoms), evaluate(case.make(), turned)
    close(there["energy"], here["energy"], 1e-9)
    close(there["atomic_energy"], here["atomic_energy"], 1e-9)
    close(there["forces"], here["forces"].numpy() @ rotation, 1e-9)
    close(there["virial"][0], rotation.T @ here["virial"][0].numpy() @ rotation, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_translations_of_all_and_lattice_translations_of_each_atom_change_nothing(case: Case, kind: str) -> None:
    atoms = structures(case.crystal)[kind]
    moved = atoms.copy()
    moved.positions += [11.3, -7.1, 0.37]
    shifts = np.random.default_rng(5).integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    moved.positions += shifts @ atoms.cell.array
    here, there = evaluate(case.make(), atoms), evaluate(case.make(), moved)
    for name in ("energy", "atomic_energy", "forces", "virial"):
        close(there[name], here[name], 1e-10)


@pytest.mark.parametrize("kind", ["skewed", "left-handed", "one-atom cell", "slab"])
def test_a_supercell_is_that_many_cells(case: Case, kind: str) -> None:
    atoms = structures(case.crystal)[kind]
    repeat = (2, 3, 1) if kind == "slab" else (2, 1, 3)
    here, there = evaluate(case.make(), atoms), evaluate(case.make(), atoms.repeat(repeat))
    close(there["energy"] / 6, here["energy"], 1e-10)
    close(there["atomic_energy"], here["atomic_energy"].repeat(6), 1e-10)
    close(there["forces"], here["forces"].repeat(6, 1), 1e-10)
    close(there["virial"] / 6, here["virial"], 1e-10)


def test_atoms_without_neighbours_have_their_own_energy_and_no_forces(case: Case) -> None:
    potential = case.make()
    symbol = case.crystal.symbols[0]
    alone = Atoms(symbol)
    apart = Atoms([symbol] * 3, positions=[[0, 0, 0], [50, 0, 0], [0, 50, 0]])
    in_a_large_cell = Atoms(symbol, cell=[40, 40, 40], pbc=True)
    values = evaluate(potential, [alone, apart, Atoms(), in_a_large_cell])
    own = float(evaluate(potential, alone)["energy"][0])
    close(values["energy"], [own, 3 * own, 0, own], 1e-12)
    if not isinstance(potential, LearnedPotential | CompiledPotential):
        assert own == 0
    assert not values["forces"].any()
    assert not values["virial"].any()
    assert not values["stress"][3].any()
    nothing = evaluate(potential, [])
    assert {name: tuple(value.shape) for name, value in nothing.items()} == {
        "energy": (0,),
        "forces": (0, 3),
        "stress": (0, 3, 3),
        "virial": (0, 3, 3),
        "atomic_energy": (0,),
    }


def test_an_atom_is_felt_within_the_declared_range_and_not_beyond(case: Case) -> None:
    potential = case.make()
    reach = potential.capabilities.interaction_range
    cluster = structures(case.crystal)["crystal"].repeat(4)
    cluster.pbc = False
    centre = len(cluster) // 2
    distance = np.linalg.norm(cluster.positions - cluster.positions[centre], axis=1)
    assert (distance > reach).any()
    one = torch.zeros(len(cluster), dtype=torch.float64)
    one[centre] = 1
    felt = evaluate(potential, cluster, one)["forces"].norm(dim=1).numpy()
    assert (felt[distance > reach] == 0).all()
    if potential.capabilities.strictly_local:
        assert (felt[distance < 0.6 * reach] > 0).all()
    else:
        assert (felt[distance > potential.cutoff] > 0).any()


def test_the_truncation_is_as_declared(case: Case) -> None:
    potential = case.make()
    cutoff, gaps = potential.cutoff, np.array([1e-2, 5e-3])
    dimers = [Atoms([case.crystal.symbols[0]] * 2, [[0, 0, 0], [cutoff - gap, 0, 0]]) for gap in (*gaps, 0.0, -0.01)]
    values = evaluate(potential, dimers)
    energy = (values["energy"] - values["energy"][-1]).numpy()
    force = values["forces"][0::2, 0].numpy()
    close(energy[2:], [0, 0], 1e-14)
    close(force[2:], [0, 0], 1e-14)
    energy, force = np.abs(energy[:2]), np.abs(force[:2])
    truncation = potential.capabilities.truncation
    if truncation == "smooth":
        assert energy[1] <= energy[0] / 2**2.9 + 1e-15
        assert force[1] <= force[0] / 2**1.9 + 1e-15
    elif truncation == "shift":
        assert energy[1] <= energy[0] / 2**0.9
        assert force.min() > 1e-4
    else:
        assert energy.min() > 1e-4


@pytest.mark.parametrize("skin", [0.3, 1.0])
def test_a_list_with_skin_gives_the_same_until_it_is_outdated(case: Case, skin: float) -> None:
    potential = case.make()
    state = atoms_to_state(list(structures(case.crystal).values()))
    neighbors = neighbor_list(state, potential.cutoff, skin)
    noise = torch.as_tensor(np.random.default_rng(6).uniform(-1, 1, (state.n_atoms, 3)))
    moved = state.replace(positions=state.positions + 0.28 * skin * noise)
    assert not neighbors.outdated(moved).any()
    kept, fresh = potential(moved, neighbors, ("energy", "forces", "virial")), evaluate(potential, moved)
    for name, value in kept.items():
        close(value, fresh[name], 1e-12)


def test_a_float32_state_is_computed_in_float64_and_answered_in_float32(case: Case) -> None:
    single = atoms_to_state(list(structures(case.crystal).values()), dtype=torch.float32)
    values, exact = evaluate(case.make(), single), evaluate(case.make(), single.to(dtype=torch.float64))
    for name, value in values.items():
        assert value.dtype == (torch.float64 if name in ("energy", "atomic_energy") else torch.float32)
        torch.testing.assert_close(value, exact[name].to(value.dtype), rtol=0, atol=0, equal_nan=True)


def test_memory_layout_does_not_matter_and_the_state_is_left_alone(case: Case) -> None:
    state = atoms_to_state(list(structures(case.crystal).values()))
    spread = state.replace(
        positions=state.positions.T.contiguous().T, cell=state.cell.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    )
    assert not spread.positions.is_contiguous()
    assert not spread.cell.is_contiguous()
    before = state.positions.clone(), state.cell.clone()
    values, expected = evaluate(case.make(), spread), evaluate(case.make(), state)
    for name, value in values.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-13, equal_nan=True)
    assert torch.equal(state.positions, before[0])
    assert torch.equal(state.cell, before[1])


def test_only_what_is_asked_for_comes_back_and_without_a_graph(case: Case) -> None:
    potential, state = case.make(), atoms_to_state(case.crystal)
    neighbors = neighbor_list(state, potential.cutoff)
    with torch.no_grad():
        values = potential(state, neighbors, ["virial", "energy"])
    assert list(values) == ["virial", "energy"]
    assert list(potential(state, neighbors, "energy")) == ["energy"]
    assert list(potential(state, neighbors)) == ["energy", "forces", "stress"]
    assert not any(value.requires_grad for value in evaluate(potential, state).values())


def test_what_it_cannot_do_is_refused_with_what_it_can(case: Case) -> None:
    potential, state = case.make(), atoms_to_state(case.crystal)
    neighbors = neighbor_list(state, potential.cutoff)
    with pytest.raises(UnsupportedRequestError, match="cannot give 'hessian'; it gives energy, forces, stress"):
        potential(state, neighbors, ("energy", "hessian"))
    with pytest.raises(InputError, match="the neighbour list ends at"):
        potential(state, neighbor_list(state, 0.99 * potential.cutoff, 1.0))
    with pytest.raises(InputError, match=r"the neighbour list is of \d+ atoms"):
        potential(atoms_to_state(case.crystal[:2]), neighbors)
    foreign = atoms_to_state([case.crystal, Atoms("Xe")])
    with pytest.raises(UnsupportedSpeciesError, match=r"Xe \(system 1, atom 0\)"):
        potential(foreign, neighbor_list(foreign, potential.cutoff))
