"""Relaxation of many structures: ASE's path for each, whatever comes and goes beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.optimize import FIRE as ASEFire
from ase.optimize import LBFGS as ASELBFGS
from tests.engine.runs import largest_difference, lennard_jones, mixed_systems, positions_by_id

import shoal
from shoal.engine import Limits, RelaxationSnapshot, RunResults
from shoal.errors import InputError, UnsupportedSpeciesError
from shoal.integrations.ase import ShoalCalculator
from shoal.potentials import StillingerWeber
from shoal.relaxation import FIRE, LBFGS, Frechet, Optimizer
from shoal.status import Status


def relax(structures: object, **options: object) -> RunResults:
    given = {"progress": False, "compile": False, "fmax": 0.003, "max_steps": 400, **options}
    return shoal.relax(structures, lennard_jones(), **given)  # type: ignore[arg-type]


def crystal(seed: int, strain: float = 0.03) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(0, strain, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
    return atoms


@pytest.mark.parametrize("cell", [None, "unit", "frechet"])
@pytest.mark.parametrize(("optimizer", "theirs"), [(FIRE(), ASEFire), (LBFGS(), ASELBFGS)], ids=["fire", "lbfgs"])
def test_it_ends_where_ase_ends_after_as_many_steps(optimizer: Optimizer, theirs: type, cell: str | None) -> None:
    atoms = crystal(3)
    ours = relax([crystal(1), atoms, crystal(2)], optimizer=optimizer, cell=cell)
    reference = atoms.copy()
    reference.calc = ShoalCalculator(lennard_jones(), skin=0.0)
    target = {None: lambda a: a, "unit": UnitCellFilter, "frechet": FrechetCellFilter}[cell](reference)
    run = theirs(target, logfile=None)
    assert run.run(fmax=0.003, steps=400)
    ended = ours.to_atoms()[1]
    assert ours.statuses == [Status.CONVERGED] * 3
    assert ours.n_steps[1] == run.nsteps
    assert np.abs(ended.positions - reference.positions).max() < 1e-6
    assert np.abs(ended.cell[:] - reference.cell[:]).max() < 1e-6
    assert abs(ours.energies[1] - reference.get_potential_energy()) < 1e-9


def test_a_structure_takes_its_path_whatever_comes_and_goes() -> None:
    systems = mixed_systems(24)
    together = relax(systems)
    streamed = relax(systems, max_atoms=40)
    backwards = relax(systems[::-1], max_atoms=100, system_ids=list(range(24))[::-1])
    assert together.n_steps.tolist() == streamed.n_steps.tolist() == backwards.n_steps.tolist()[::-1]
    assert len(set(together.n_steps.tolist())) > 4  # some leave long before others
    a, b, c = map(positions_by_id, (together, streamed, backwards))
    assert largest_difference(a, b) < 1e-8
    assert largest_difference(a, c) < 1e-8
    assert streamed.ids == list(range(24))
    assert backwards.ids == list(range(24))[::-1]
    assert streamed.state.system_id.tolist() == list(range(24))


def test_resident_atoms_stay_within_the_budget() -> None:
    seen: list[int] = []

    def look(snapshot: RelaxationSnapshot) -> None:
        seen.append(len(snapshot.positions))
        assert snapshot.fmax.shape == snapshot.enthalpy.shape == snapshot.system_id.shape

    results = relax(mixed_systems(24), max_atoms=40, on_step=look, every=3)
    assert len(results) == 24
    assert max(seen) <= 40
    assert np.mean(seen[: len(seen) // 2]) > 20


def test_one_large_structure_runs_alone_whatever_the_budget() -> None:
    large = crystal(1) * (2, 1, 1)
    results = relax([crystal(0), large, crystal(2)], max_atoms=10, cell="frechet")
    assert results.statuses == [Status.CONVERGED] * 3


def test_a_bad_structure_ends_alone() -> None:
    overlap = crystal(5)
    overlap.positions[1] = overlap.positions[0]
    foreign = bulk("Cu", cubic=True)
    good = [crystal(1), crystal(2)]
    results = relax([good[0], overlap, foreign, good[1]], errors="status", cell="frechet")
    assert results.statuses[0] is results.statuses[3] is Status.CONVERGED
    assert results.statuses[1] is Status.NON_FINITE
    assert results.statuses[2] is Status.UNSUPPORTED
    assert results.n_steps[1] == 0
    alone = relax(good, system_ids=[0, 3], cell="frechet")
    assert largest_difference(positions_by_id(alone), positions_by_id(results), [0, 3]) < 1e-9
    with pytest.raises(UnsupportedSpeciesError, match="Cu"):
        relax([foreign])


def test_atoms_that_overlap_are_pushed_apart() -> None:
    overlap = crystal(5)
    overlap.positions[1] = overlap.positions[0] + [0, 0, 0.3]
    assert relax([overlap], limits=Limits()).statuses == [Status.EXPLODED]
    assert relax([overlap], max_steps=2000).statuses == [Status.CONVERGED]


def test_a_structure_the_filter_cannot_take_ends_alone() -> None:
    turned = fcc111("Ar", (1, 1, 3), a=5.4, vacuum=6.0)
    turned.rotate(30, "x", rotate_cell=True)
    options = {"cell": Frechet(strain_mask=(1, 1, 0, 0, 0, 1)), "errors": "status"}
    results = relax([crystal(1), turned], **options)
    assert results.statuses == [Status.CONVERGED, Status.UNSUPPORTED]
    assert "Cartesian axes" in results[1].reason


def test_limits_of_steps_and_goals_for_each() -> None:
    results = relax([crystal(1), crystal(2)], fmax=[0.1, 1e-6], max_steps=12)
    assert results.statuses == [Status.CONVERGED, Status.MAX_STEPS]
    assert results.n_steps[1] == 12
    assert relax([crystal(1)], max_steps=0).statuses == [Status.MAX_STEPS]
    there = relax(relax([crystal(1)]).state)
    assert there.n_steps.tolist() == [0]
    assert there.statuses == [Status.CONVERGED]


def test_pressure_and_stress() -> None:
    pressed = relax([crystal(1, 0.0)], cell=Frechet(pressure=0.2), fmax=1e-4, stress_max=1e-3)
    assert pressed.statuses == [Status.CONVERGED]
    stress = pressed.stress[0] / shoal.units.GPA
    assert np.allclose(stress, -0.2 * np.eye(3), atol=1.1e-3)
    loose = relax([crystal(1, 0.0)], cell="frechet", fmax=0.05)
    tight = relax([crystal(1, 0.0)], cell="frechet", fmax=0.05, stress_max=1e-3)
    assert tight.n_steps[0] > loose.n_steps[0]


def test_fixed_atoms_stay_and_stopped_structures_leave() -> None:
    held = crystal(1)
    held.set_constraint(FixAtoms([0, 3]))

    def stop(snapshot: RelaxationSnapshot) -> None:
        if snapshot.n_steps == 4:
            snapshot.stop([1], "seen enough")

    results = relax([held, crystal(2)], on_step=stop)
    assert np.array_equal(results.to_atoms()[0].positions[[0, 3]], held.positions[[0, 3]])
    assert results.statuses == [Status.CONVERGED, Status.STOPPED]
    assert results.reasons[1] == "seen enough"
    assert results.n_steps[1] == 4


def test_stillinger_weber_silicon_finds_its_lattice() -> None:
    rng = np.random.default_rng(0)
    systems = []
    for scale in (0.96, 1.0, 1.05):
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell[:] * scale, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        systems.append(atoms)
    results = shoal.relax(systems, StillingerWeber(), cell="frechet", fmax=1e-3, progress=False)
    assert results.statuses == [Status.CONVERGED] * 3
    assert np.allclose(results.energies / 8, -4.3366, atol=1e-5)  # 2 epsilon
    volumes = [atoms.get_volume() for atoms in results.to_atoms()]
    assert np.allclose(np.cbrt(volumes), 5.4309498, atol=2e-3)


def test_results_are_written_as_they_come(tmp_path: Path) -> None:
    import ase.io

    out = tmp_path / "relaxed.xyz"
    results = relax(mixed_systems(6), out=out, max_atoms=30)
    frames = ase.io.read(out, index=":")
    assert sorted(frame.info["system_id"] for frame in frames) == list(range(6))
    assert all(frame.info["status"] == "converged" and frame.info["n_steps"] >= 0 for frame in frames)
    with pytest.raises(InputError, match="in memory"):
        _ = results.energies


def test_arguments_that_make_no_sense() -> None:
    for options in ({"cell": "orthorhombic"}, {"max_steps": -1}, {"skin": 0.0}, {"max_atoms": 0}, {"every": 0}):
        with pytest.raises(InputError):
            relax([crystal(1)], **options)
    with pytest.raises(InputError, match="fmax has 2 values for 1 systems"):
        relax([crystal(1)], fmax=[0.1, 0.2])
    with pytest.raises(InputError, match="stress_max"):
        relax([crystal(1)], stress_max=0.1)
    assert len(relax([])) == 0


def test_the_choice_of_origin_explodes_nothing() -> None:
    """Atoms many cells away go far when the cell strains, which is no explosion."""
    near = bulk("Ar", "fcc", a=5.0)
    far = near.copy()
    far.positions += far.cell[0] * 60 + far.cell[2] * 40
    results = relax([near, far], cell="frechet", max_steps=200)
    assert results.statuses == [Status.CONVERGED] * 2
    assert np.allclose(results.energies[0], results.energies[1], atol=1e-9)


def test_a_step_no_list_can_follow_ends_the_structure() -> None:
    wild = bulk("Ar", "fcc", a=5.3, cubic=True)
    wild.positions[1] = wild.positions[0] + [0.0, 0.0, 1.2]
    results = relax([wild, crystal(1)], optimizer=FIRE(maxstep=60.0, dtmax=50.0, dt=5.0), limits=Limits(1e6, 1e300))
    assert len(results) == 2  # it ends
