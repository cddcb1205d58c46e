"""What constraints leave of forces and velocities is what ASE's leave, and runs keep them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCom
from ase.md.verlet import VelocityVerlet
from tests.moving import at_rest, evaluator, systems_of

from shoal.constraints import constrained, degrees_of_freedom, hold_forces, hold_velocities
from shoal.dynamics import INTEGRATORS, NVE, Integrator, maxwell_boltzmann
from shoal.io import atoms_to_state
from shoal.motion import Systems
from shoal.potentials import LennardJones
from shoal.random import Purpose, stream_keys
from shoal.state import SimState
from shoal.units import ACCELERATION


def frames() -> list[Atoms]:
    """A molecule, a crystal and a cluster: free, with fixed atoms, with a fixed centre of mass."""
    ethanol, salt, cluster = molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64) * (2, 1, 1), molecule("CH3Cl")
    salt.set_constraint(FixAtoms([1, 2]))
    cluster.set_constraint(FixCom())
    return [ethanol, salt, cluster]


def held(state: SimState) -> Systems:
    fixed, fixed_com = constrained(state)
    return systems_of(state, fixed=fixed, fixed_com=fixed_com)


def test_forces_are_those_that_ase_leaves() -> None:
    made = frames()
    values = [np.random.default_rng(s).normal(size=(len(atoms), 3)) for s, atoms in enumerate(made)]
    for atoms, forces in zip(made, values, strict=True):
        atoms.calc = SinglePointCalculator(atoms, forces=forces.copy())
    ours = hold_forces(torch.as_tensor(np.concatenate(values)), held(atoms_to_state(made)))
    theirs = np.concatenate([atoms.get_forces() for atoms in made])
    np.testing.assert_allclose(ours, theirs, atol=1e-14)


def test_velocities_are_those_that_ase_leaves() -> None:
    made = frames()
    state = atoms_to_state(made)
    momenta = [np.random.default_rng(s).normal(size=(len(atoms), 3)) for s, atoms in enumerate(made)]
    for atoms, values in zip(made, momenta, strict=True):
        atoms.set_momenta(values)
    velocities = torch.as_tensor(np.concatenate(momenta)) / state.masses[:, None]
    ours = hold_velocities(velocities, held(state)) * state.masses[:, None]
    np.testing.assert_allclose(ours, np.concatenate([atoms.get_momenta() for atoms in made]), atol=1e-14)


@pytest.mark.parametrize("hold", [hold_forces, hold_velocities])
def test_holding_twice_is_holding_once(hold: Callable[[torch.Tensor, Systems], torch.Tensor]) -> None:
    systems = held(atoms_to_state(frames()))
    values = torch.randn(len(systems.masses), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = hold(values, systems)
    torch.testing.assert_close(hold(once, systems), once, rtol=0, atol=1e-13)
    assert not torch.equal(once, values)


def test_atoms_without_mass_have_no_part_in_the_centre_of_mass() -> None:
    state = atoms_to_state([Atoms("X2", positions=[[0, 0, 0], [0, 0, 1]], masses=[0.0, 0.0]), molecule("H2")])
    systems = systems_of(state, fixed_com=torch.tensor([True, True]))
    ones = torch.ones(4, 3, dtype=torch.float64)
    for hold in (hold_forces, hold_velocities):
        torch.testing.assert_close(hold(ones, systems), ones * torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None])


EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 7.0


def argon(constraint: FixAtoms | FixCom | None) -> Atoms:
    """A rattled crystal of argon and a light isotope, moving."""
    atoms = bulk("Ar", a=5.3, cubic=True) * (3, 3, 3)
    masses = atoms.get_masses()
    masses[::3] = 20.0
    atoms.set_masses(masses)
    atoms.rattle(0.05, seed=1)
    atoms.set_momenta(np.random.default_rng(2).normal(0.05, 1.0, (len(atoms), 3)))
    atoms.set_constraint(constraint)
    return atoms


def started(atoms: Atoms) -> tuple[SimState, Systems]:
    """The state as ASE starts it: with the momenta that constraints leave."""
    atoms.set_momenta(atoms.get_momenta())
    state = atoms_to_state(atoms)
    return state, held(state)


@pytest.mark.parametrize("constraint", [FixCom(), FixAtoms([0, 5, 17])], ids=lambda c: type(c).__name__)
def test_dynamics_go_the_way_of_ase(constraint: FixCom | FixAtoms) -> None:
    atoms = argon(constraint)
    state, systems = started(atoms)
    evaluate = evaluator(LennardJones({"Ar": (EPSILON, SIGMA)}, CUTOFF, truncation="none"), state)
    now = NVE().init(systems, at_rest(state, systems, evaluate, timestep=2.0))
    atoms.calc = AseLennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=False)
    # its unit of time is u^1/2 A eV^-1/2; its own fs has constants of another year
    fs = ACCELERATION**0.5
    atoms.set_momenta((state.masses[:, None] * state.velocities / fs).numpy())
    dynamics = VelocityVerlet(atoms, timestep=2.0 * fs)
    for _ in range(20):
        now = NVE().step(now, systems, evaluate)
        dynamics.run(1)
    np.testing.assert_allclose(now.positions, atoms.positions, atol=1e-11)


@pytest.mark.parametrize("method", [m for m in INTEGRATORS if not m.moves_cell], ids=lambda m: m.__name__)
def test_what_is_fixed_stays_where_it_is(method: type[Integrator]) -> None:
    for constraint in (FixAtoms([0, 5, 17]), FixCom()):
        state, systems = started(argon(constraint))
        evaluate = evaluator(LennardJones({"Ar": (EPSILON, SIGMA)}, CUTOFF), state)
        now = method().init(systems, at_rest(state, systems, evaluate, 2.0))
        for _ in range(10):
            now = method().step(now, systems, evaluate)
        assert (now.positions - state.positions).norm(dim=1).median() > 1e-2
        if isinstance(constraint, FixAtoms):
            torch.testing.assert_close(now.positions[systems.fixed], state.positions[systems.fixed], rtol=0, atol=0)
        else:
            centre = (systems.masses[:, None] * (now.positions - state.positions)).sum(0) / systems.masses.sum()
            assert centre.abs().max() < 1e-12


def test_velocities_are_drawn_within_the_constraints_at_their_degrees_of_freedom() -> None:
    state = atoms_to_state([argon(None), argon(FixAtoms(list(range(50)))), argon(FixCom())])
    systems = held(state)
    assert degrees_of_freedom(systems, conserves_momentum=True).tolist() == [321.0, 174.0, 321.0]
    assert degrees_of_freedom(systems, conserves_momentum=False).tolist() == [324.0, 174.0, 321.0]
    keys = stream_keys(5, state.system_id, Purpose.VELOCITIES)
    velocities = maxwell_boltzmann(torch.full((3,), 100.0, dtype=torch.float64), systems, keys)
    torch.testing.assert_close(hold_velocities(velocities, systems), velocities, rtol=0, atol=1e-15)
    momentum = systems.sum(systems.masses[:, None] * velocities).norm(dim=1)
    assert momentum[[0, 2]].max() < 1e-12
    assert momentum[1] > 1e-3
