"""Heat fluxes against metatomic's, and against how the energy moves along a step of dynamics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from metatensor.torch import Labels
from tests.conftest import rattled
from tests.potentials.metatomic_heat_flux import metatomic_heat_flux
from tests.potentials.test_potential_laws import CASES, SKEWED, structures

from shoal.contract import OutputRequest
from shoal.errors import InputError, UnsupportedRequestError
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential, Potential, StillingerWeber
from shoal.state import SimState
from shoal.testing import close
from shoal.units import ACCELERATION, KINETIC

NAMES = ["Lennard-Jones, switched", "Stillinger-Weber", "Sum", "NequIP", "Allegro", "Committee", "NequIP, TorchScript"]


@pytest.fixture(scope="module", params=NAMES)
def named(request: pytest.FixtureRequest) -> tuple[Potential, Atoms]:
    case = CASES[request.param]
    potential = case.make()
    if isinstance(potential, LearnedPotential):
        potential.model.set_scales_shifts(50.0, 0.0)  # an untrained model's own energies are small beside kinetic ones
    return potential, case.crystal


def moving(atoms: Atoms | list[Atoms], seed: int = 0) -> SimState:
    """With velocities of about 1000 K."""
    state = atoms_to_state(atoms)
    noise = torch.randn(state.n_atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return state.replace(velocities=noise * torch.sqrt(0.086 / (state.masses[:, None] * KINETIC)))


def flux(potential: Potential, state: SimState, **request: str) -> torch.Tensor:
    block = potential.outputs(state, {"heat_flux": OutputRequest(**request)})["heat_flux"].block()  # type: ignore[arg-type]
    assert block.samples.names == ["system"]
    assert [axis.names for axis in block.components] == [["xyz"]]
    assert block.properties.names == ["heat_flux"]
    return block.values[..., 0]


def total_barycentre(potential: Potential, state: SimState) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_i r_i (E_i + K_i) eV A, and the accelerations."""
    values = potential(state, neighbor_list(state, potential.cutoff), ("atomic_energy", "forces"))
    assert state.velocities is not None
    kinetic = 0.5 * state.masses * state.velocities.square().sum(1) * KINETIC
    energy = values["atomic_energy"] + kinetic
    return (state.positions * energy[:, None]).sum(0), values["forces"] / state.masses[:, None] * ACCELERATION


def stepped(potential: Potential, state: SimState, dt: float) -> torch.Tensor:
    """sum_i r_i (E_i + K_i) after one step of velocity Verlet."""
    _, acceleration = total_barycentre(potential, state)
    assert state.velocities is not None
    moved = state.replace(positions=state.positions + dt * state.velocities + 0.5 * dt**2 * acceleration)
    _, later = total_barycentre(potential, moved)
    return total_barycentre(potential, moved.replace(velocities=state.velocities + 0.5 * dt * (acceleration + later)))[
        0
    ]


def test_on_a_free_cluster_it_is_the_slope_of_the_energys_barycentre(named: tuple[Potential, Atoms]) -> None:
    potential, crystal = named
    state = moving(structures(crystal)["cluster"])

    def slope(dt: float) -> torch.Tensor:
        return (stepped(potential, state, dt) - stepped(potential, state, -dt)) / (2 * dt)

    refined = (4 * slope(0.05) - slope(0.1)) / 3  # without the error of second order
    close(flux(potential, state)[0], refined, 1e-8)


FULL = {
    "cubic": np.eye(3),
    "triclinic": SKEWED,
    "left-handed": SKEWED[[1, 0, 2]],
}


@pytest.mark.parametrize("shape", FULL)
def test_in_a_crystal_it_is_metatomics(named: tuple[Potential, Atoms], shape: str) -> None:
    """Whose heat flux takes cells that are wider than the interaction range, one at a time."""
    potential, crystal = named
    cell = crystal.cell.array
    crystal = crystal.copy()
    crystal.set_cell(cell @ FULL[shape], scale_atoms=True)
    reach = potential.capabilities.interaction_range
    times = int(np.ceil(1.15 * reach / cell[0, 0]))
    state = moving(rattled(crystal * (times, times, times), 0))
    close(flux(potential, state), metatomic_heat_flux(potential, state), 1e-10)


def test_it_is_extensive_in_cells_narrower_than_the_range_and_of_any_periodicity(
    named: tuple[Potential, Atoms],
) -> None:
    potential, crystal = named
    frames = structures(crystal)
    for name, repeat in (("one-atom cell", (2, 1, 3)), ("skewed", (2, 1, 1)), ("slab", (1, 3, 1)), ("wire", (1, 1, 2))):
        small = moving(frames[name])
        large = atoms_to_state(frames[name].repeat(repeat))
        times = int(np.prod(repeat))
        assert small.velocities is not None
        large = large.replace(velocities=small.velocities.repeat(times, 1))
        close(flux(potential, large), times * flux(potential, small).numpy(), 1e-10)


def test_systems_of_a_batch_are_apart_and_lattice_translations_change_nothing(named: tuple[Potential, Atoms]) -> None:
    potential, crystal = named
    frames = list(structures(crystal).values())
    state = moving(frames)
    assert state.velocities is not None
    together, start = flux(potential, state), 0
    for s, atoms in enumerate(frames):
        own = slice(start, start + len(atoms))
        start += len(atoms)
        shifts = np.random.default_rng(s).integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        atoms.positions += shifts @ atoms.cell.array + [3.1, -20.7, 5.9]
        alone = atoms_to_state(atoms).replace(velocities=state.velocities[own])
        close(together[s], flux(potential, alone)[0], 1e-10)


@pytest.mark.parametrize("name", ["Lennard-Jones, switched", "Stillinger-Weber", "Sum", "Allegro"])
def test_strictly_local_potentials_have_one_flux_by_either_form(name: str) -> None:
    case = CASES[name]
    potential, state = case.make(), moving(list(structures(case.crystal).values()))
    types, neighbors = potential.type_map()(state), neighbor_list(state, potential.cutoff)
    split = potential.potential_heat_flux(state, neighbors, types)
    close(split, Potential.potential_heat_flux(potential, state, neighbors, types), 1e-11)


def test_message_passing_needs_the_unfolded_form() -> None:
    """The split over edges would put the power of an edge at its centre, which is not where the energy goes."""
    potential, crystal = CASES["NequIP"].make(), CASES["NequIP"].crystal
    assert isinstance(potential, LearnedPotential)
    potential.model.set_scales_shifts(50.0, 0.0)
    state = moving(structures(crystal)["cluster"])
    types, neighbors = potential.type_map()(state), neighbor_list(state, potential.cutoff)
    unfolded = potential.potential_heat_flux(state, neighbors, types)
    potential.strictly_local = True
    assert (potential.potential_heat_flux(state, neighbors, types) - unfolded).abs().max() > 1e-4


def test_its_unit_is_energy_times_length_per_time(named: tuple[Potential, Atoms]) -> None:
    potential, crystal = named
    state = moving(crystal)
    plain = flux(potential, state)
    close(flux(potential, state, unit="kJ/mol*nm/ps"), 100 * 96.48533212331 * plain.numpy(), 1e-9)


def test_nothing_at_rest_and_nothing_of_nothing() -> None:
    potential = StillingerWeber()
    state = atoms_to_state([Atoms("Si"), Atoms()])
    assert not flux(potential, state.replace(velocities=torch.zeros(1, 3, dtype=torch.float64))).any()
    nothing = atoms_to_state([]).replace(velocities=torch.zeros(0, 3, dtype=torch.float64))
    assert tuple(flux(potential, nothing).shape) == (0, 3)


def test_it_needs_velocities_and_is_of_whole_systems() -> None:
    potential, state = StillingerWeber(), atoms_to_state(CASES["Stillinger-Weber"].crystal)
    with pytest.raises(InputError, match="needs velocities"):
        flux(potential, state)
    with pytest.raises(UnsupportedRequestError, match="heat_flux per atom"):
        flux(potential, state, sample_kind="atom")
    some = Labels(["system", "atom"], torch.zeros(1, 2, dtype=torch.int32))
    with pytest.raises(UnsupportedRequestError, match="heat_flux of selected atoms"):
        potential.outputs(moving(CASES["Stillinger-Weber"].crystal), {"heat_flux": OutputRequest()}, some)
