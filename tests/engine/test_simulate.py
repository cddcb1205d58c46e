"""Dynamics of many systems at once: each as if it were alone, and no failure of one is another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet
from tests.engine.runs import largest_difference, lennard_jones, mixed_systems, positions_by_id

import shoal
from shoal.dynamics import INTEGRATORS, NVE, CellRescaling, Integrator, Langevin, NoseHoover, Ramp
from shoal.engine import DynamicsSnapshot, Limits
from shoal.errors import InputError, ShoalWarning, UnsupportedSpeciesError, UnsupportedSystemError
from shoal.integrations.ase import ShoalCalculator
from shoal.potentials import Sum
from shoal.status import Status

LANGEVIN = Langevin(temperature=60.0, friction=0.02)


def run(
    structures: object, n_steps: int, integrator: Integrator = LANGEVIN, **options: object
) -> shoal.engine.RunResults:
    given = {"seed": 11, "progress": False, "compile": False, **options}
    return shoal.simulate(structures, lennard_jones(), integrator, 2.0, n_steps, **given)  # type: ignore[arg-type]


def test_a_system_moves_alike_in_any_batch_and_alone() -> None:
    systems = mixed_systems(40)
    together = positions_by_id(run(systems, 50))
    in_sevens = positions_by_id(run(systems, 50, max_atoms=60))
    ids = list(range(40))
    backwards = positions_by_id(run(systems[::-1], 50, system_ids=ids[::-1]))
    assert largest_difference(together, in_sevens) < 1e-10
    assert largest_difference(together, backwards) < 1e-10
    for k in (0, 5, 18, 39):
        alone = positions_by_id(run(systems[k], 50, system_ids=[k]))
        assert largest_difference(together, alone, [k]) < 1e-10
    moved = largest_difference(together, {k: atoms.positions for k, atoms in enumerate(systems)})
    assert moved > 0.1  # it did move, so that agreeing means something


def test_noise_is_the_same_to_the_last_bit_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from shoal.dynamics import blocks

    drawn: list[torch.Tensor] = []
    original = blocks.normals

    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        drawn.append(original(*arguments))
        return drawn[-1]

    monkeypatch.setattr(blocks, "normals", recorded)
    systems = mixed_systems(6)
    run(systems, 3)
    together, drawn[:] = list(drawn), []
    run(systems[4], 3, system_ids=[4])
    first = sum(len(atoms) for atoms in systems[:4])
    for all_rows, own in zip(together, drawn, strict=True):
        assert torch.equal(all_rows[first : first + len(own)], own)


def test_velocity_verlet_is_ases_step_for_step() -> None:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 1, 1)
    atoms.positions += np.random.default_rng(0).normal(0, 0.1, atoms.positions.shape)
    atoms.set_velocities(np.random.default_rng(1).normal(0, 0.01, atoms.positions.shape))
    ours = run(atoms, 50, NVE()).to_atoms()[0]
    theirs = atoms.copy()
    theirs.calc = ShoalCalculator(lennard_jones(), skin=0.0)
    VelocityVerlet(theirs, 2.0 * units.fs).run(50)
    # ASE's femtosecond is that of CODATA 2014, ours of 2018: 1e-8 of it
    assert np.abs(ours.positions - theirs.positions).max() < 2e-7
    assert np.abs(ours.positions - atoms.positions).max() > 0.05


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=lambda kind: kind.__name__)
def test_a_run_in_two_parts_is_the_run(integrator: type[Integrator]) -> None:
    systems = [bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2) for _ in range(2)]
    whole = run(systems, 12, integrator(), temperature=50.0)
    first = run(systems, 5, integrator(), temperature=50.0)
    second = run(first.state, 7, integrator())
    assert largest_difference(positions_by_id(whole), positions_by_id(second)) < 1e-11
    assert whole.state.system_extras["md_steps"].tolist() == [12, 12]
    assert second.state.system_extras["md_steps"].tolist() == [12, 12]


def test_seeds() -> None:
    atoms = mixed_systems(1)
    drawn = run(atoms, 2, seed=None)
    assert drawn.seed is not None
    again = run(atoms, 2, seed=drawn.seed)
    other = run(atoms, 2, seed=None)
    assert np.array_equal(drawn.to_atoms()[0].positions, again.to_atoms()[0].positions)
    assert not np.array_equal(drawn.to_atoms()[0].positions, other.to_atoms()[0].positions)
    with pytest.raises(InputError, match="seed"):
        run(atoms, 1, seed=-1)


def broken_at(step: int, system_id: int) -> object:
    """on_step that puts an atom of a system out of the world."""

    def hook(snapshot: DynamicsSnapshot) -> None:
        if snapshot.n_steps == step:
            row = snapshot.system_id.tolist().index(system_id)
            loop = snapshot._loop
            velocities = loop.frame.velocities.clone()
            velocities[int(loop.state.offsets[row])] = float("nan")
            loop.frame = loop.frame.replace(velocities=velocities)

    return hook


def stopped_at(step: int, system_id: int) -> object:
    def hook(snapshot: DynamicsSnapshot) -> None:
        if snapshot.n_steps == step:
            snapshot.stop([system_id])

    return hook


def test_a_system_that_breaks_leaves_the_others_as_if_it_had_been_frozen() -> None:
    systems = mixed_systems(8)
    broken = run(systems, 60, on_step=broken_at(20, 3))
    frozen = run(systems, 60, on_step=stopped_at(20, 3))
    assert broken.statuses == [Status.NON_FINITE if k == 3 else Status.DONE for k in range(8)]
    assert frozen.statuses == [Status.STOPPED if k == 3 else Status.DONE for k in range(8)]
    assert "not finite" in broken.reasons[3]
    a, b = positions_by_id(broken), positions_by_id(frozen)
    assert all(np.array_equal(a[k], b[k]) for k in range(8))  # the broken one at its last good frame, too
    assert np.isfinite(a[3]).all()
    assert broken.n_steps.tolist() == [20 if k == 3 else 60 for k in range(8)]


def test_an_explosion_is_named_with_its_atom() -> None:
    calm, mad = bulk("Ar", "fcc", a=5.4, cubic=True), bulk("Ar", "fcc", a=5.4, cubic=True)
    mad.set_velocities(np.array([[0, 0, 0], [0, 0, 0], [40.0, 0, 0], [0, 0, 0]]) / units.fs * 0.1)
    results = run([calm, mad], 5, NVE())
    assert results.statuses == [Status.DONE, Status.EXPLODED]
    assert "atom 2 moved" in results.reasons[1]
    assert np.array_equal(results.to_atoms()[1].positions, mad.positions)
    tight = run([calm, bulk("Ar", "fcc", a=4.0)], 1, NVE(), limits=Limits(max_force=1e-3), temperature=300.0)
    assert Status.EXPLODED in tight.statuses


def test_the_list_is_never_too_short() -> None:
    """Fast atoms use up the skin within few steps, and within one: the forces are those of a new list."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
    for skin in (0.02, 0.5, 3.0):
        results = run(atoms, 40, NVE(), skin=skin, temperature=3000.0)
        calculator = ShoalCalculator(lennard_jones())
        ended = results.to_atoms()[0]
        fresh = ended.copy()
        fresh.calc = calculator
        assert np.abs(fresh.get_forces() - ended.get_forces()).max() < 1e-11
        if skin == 0.02:
            assert results.info.n_rebuilds > 10


def test_constraints_of_the_structures_hold_and_unknown_ones_are_refused() -> None:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True)
    atoms.set_constraint(FixAtoms([1]))
    ended = run([atoms], 30, temperature=100.0).to_atoms()[0]
    assert np.array_equal(ended.positions[1], atoms.positions[1])
    assert np.abs(ended.positions - atoms.positions).max() > 0.01
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="FixBondLength"):
        run([atoms], 1)


def test_bad_structures_are_named_or_reported() -> None:
    good = bulk("Ar", "fcc", a=5.4, cubic=True)
    nan = good.copy()
    nan.positions[2, 1] = np.nan
    foreign = bulk("Cu", cubic=True)
    with pytest.raises(UnsupportedSpeciesError, match="Cu"):
        run([good, foreign], 1)
    with pytest.raises(InputError, match="finite"):
        run([nan, good], 1)
    results = run([nan, good, foreign, good], 4, errors="status")
    assert results.statuses == [Status.INVALID_INPUT, Status.DONE, Status.UNSUPPORTED, Status.DONE]
    assert results.n_steps.tolist()[1::2] == [4, 4]
    assert results.state.system_id.tolist() == [1, 3]
    alone = run([good], 4, system_ids=[3])
    assert largest_difference(positions_by_id(alone), positions_by_id(results), [3]) < 1e-12


def test_a_system_the_method_cannot_move_ends_alone() -> None:
    crystal, slab = bulk("Ar", "fcc", a=5.4, cubic=True), fcc111("Ar", (1, 1, 3), a=5.4, vacuum=6.0)
    held = crystal.copy()
    held.set_constraint(FixAtoms([0]))
    barostat = CellRescaling(60.0)
    results = run([slab, crystal, held, crystal], 3, barostat, errors="status")
    assert results.statuses == [Status.UNSUPPORTED, Status.DONE, Status.UNSUPPORTED, Status.DONE]
    assert "not periodic" in results[0].reason
    assert "fixed atoms" in results[2].reason
    alone = run([crystal, crystal], 3, barostat, system_ids=[1, 3])
    assert largest_difference(positions_by_id(alone), positions_by_id(results), [1, 3]) < 1e-12
    with pytest.raises(UnsupportedSystemError, match="system 1 is not periodic"):
        run([crystal, slab], 3, barostat)
    with pytest.raises(InputError, match="friction must not be negative"):  # an argument is no system's fault
        run([crystal, slab], 3, CellRescaling(60.0, friction=-1.0), errors="status")


def test_forces_between_atoms_that_stay_explode_nothing() -> None:
    walls = [[0, 0, 0], [0, 0, 1.0]]
    atoms = Atoms("Ar3", [*walls, [0, 0, 7.5]], constraint=FixAtoms([0, 1]))
    assert run([atoms], 3, NVE(), temperature=0.0).statuses == [Status.DONE]
    atoms.set_constraint(FixAtoms([0]))
    assert run([atoms], 3, NVE(), temperature=0.0).statuses == [Status.EXPLODED]


@pytest.mark.parametrize("value", ["a", [None, None], [1.0, "x"], [[1.0, 2.0]], 1j, float("nan")])
def test_parameters_that_are_no_numbers(value: Any) -> None:
    atoms = [bulk("Ar", "fcc", a=5.4, cubic=True)] * 2
    for name, integrator in {
        "temperature": Langevin(value),
        "friction": Langevin(60.0, value),
        "pressure": CellRescaling(60.0, pressure=value),
        "tau": NoseHoover(60.0, tau=value),
    }.items():
        with pytest.raises(InputError, match=name):
            run(atoms, 1, integrator)
    with pytest.raises(InputError, match="timestep"):
        shoal.simulate(atoms, lennard_jones(), NVE(), value, 1, progress=False)
    with pytest.raises(InputError, match="n_steps must be a whole number"):
        run(atoms, value)


def test_arguments_that_make_no_sense() -> None:
    atoms = bulk("Ar", "fcc", a=5.4)
    for options in ({"skin": 0.0}, {"every": 0}, {"max_atoms": 0}, {"compile": "yes"}):
        with pytest.raises(InputError):
            run(atoms, 1, **options)
    with pytest.raises(InputError, match="friction"):
        run(atoms, 1, Langevin(300.0, -1.0))
    with pytest.raises(InputError, match="temperature"):
        run([atoms, atoms], 1, Langevin([300.0]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"integrator\.temperature\.start has 3 values for 2 systems"):
        run([atoms, atoms], 1, Langevin(Ramp([1.0, 2.0, 3.0], 5.0, 2)))
    with pytest.raises(InputError, match="timestep"):
        shoal.simulate(atoms, lennard_jones(), NVE(), 0.0, 1, progress=False)
    with pytest.raises(InputError, match="float32"):
        run(shoal.io.atoms_to_state([atoms], dtype=torch.float32), 1)
    run(shoal.io.atoms_to_state([atoms], dtype=torch.float32), 1, allow_float32=True)
    assert len(run([], 1)) == 0


def test_atoms_on_top_of_each_other_are_warned_of() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 0.05]])
    with pytest.warns(ShoalWarning, match=r"closer than 0\.1 A in system 0"):
        results = run(atoms, 1, NVE())
    assert results.statuses == [Status.EXPLODED]


def test_snapshots_and_ramps() -> None:
    seen: list[DynamicsSnapshot] = []
    systems = [bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)] * 2
    run(systems, 40, Langevin(Ramp([20.0, 40.0], 80.0, 30), 0.05), on_step=seen.append, every=10)
    assert [snapshot.n_steps for snapshot in seen] == [0, 10, 20, 30, 40]
    last = seen[-1]
    assert tuple(last.temperature.shape) == tuple(last.pressure.shape) == (2,)
    assert bool((last.temperature > seen[0].temperature).all())
    again = lennard_jones()(last.state, shoal.neighbors.neighbor_list(last.state, 7.0), ("stress", "energy"))
    volume = torch.linalg.det(last.cell)
    expected = 2 * last.kinetic_energy / (3 * volume) - again["stress"].diagonal(dim1=1, dim2=2).sum(1) / 3
    assert torch.allclose(last.pressure * shoal.units.GPA, expected, rtol=1e-10)
    assert torch.allclose(last.energy, again["energy"], rtol=1e-12)


def test_results_are_tables_and_files(tmp_path: Path) -> None:
    import ase.io

    systems = mixed_systems(3)
    results = run(systems, 2)
    table = results.to_table()
    assert table["n_steps"].tolist() == [2, 2, 2]
    assert [atoms.info["status"] for atoms in results.to_atoms()] == ["done"] * 3
    assert "Langevin, eager: 3 systems" in results.summary()
    out = tmp_path / "last.xyz"
    written = run(systems, 2, out=out)
    assert len(written) == 3
    read = ase.io.read(out, index=":")
    assert np.allclose(read[2].positions, results.to_atoms()[2].positions, atol=1e-7)
    with pytest.raises(InputError, match="exists"):
        run(systems, 1, out=out)
    with pytest.raises(InputError, match="xyz"):
        run(systems, 1, out=tmp_path / "folder")


def test_a_sum_moves_as_its_terms() -> None:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    halves = Sum(*(shoal.potentials.LennardJones({"Ar": (0.0052, 3.4)}, 7.0) for _ in range(2)))
    options = {"seed": 1, "temperature": 30.0, "progress": False, "compile": False}
    one = shoal.simulate(atoms, lennard_jones(), NVE(), 2.0, 20, **options)  # type: ignore[arg-type]
    two = shoal.simulate(atoms, halves, NVE(), 2.0, 20, **options)  # type: ignore[arg-type]
    assert largest_difference(positions_by_id(one), positions_by_id(two)) < 1e-12


def test_a_continued_system_goes_on_beside_a_fresh_one_as_it_does_alone() -> None:
    """What it remembers is its own, also where its batch-mates have nothing to remember."""
    old, fresh = mixed_systems(2)
    first = run([old], 5)
    alone = run(first.state, 5)
    joined = shoal.concatenate([first.state, shoal.io.atoms_to_state([fresh], system_ids=[1])])
    beside = run(joined, 5)
    assert largest_difference(positions_by_id(alone), positions_by_id(beside), [0]) < 1e-10
    assert beside.state.system_extras["md_steps"].tolist() == [10, 5]
    by_atoms = run([*first.to_atoms(), fresh], 5)
    assert largest_difference(positions_by_id(alone), positions_by_id(by_atoms), [0]) < 1e-10


def test_velocities_drawn_again_are_others() -> None:
    atoms = mixed_systems(1)
    seen: list[DynamicsSnapshot] = []
    first = run(atoms, 2, temperature=50.0, on_step=seen.append)
    run(first.state, 2, temperature=50.0, on_step=seen.append)
    assert not torch.allclose(seen[0].velocities, seen[3].velocities)


def test_a_kept_snapshot_tells_of_its_step() -> None:
    kept: list[tuple[DynamicsSnapshot, torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def look(now: DynamicsSnapshot) -> None:
        fresh = DynamicsSnapshot(now._loop, now.n_steps)
        kept.append((now, fresh.state.positions.clone(), fresh.temperature.clone(), fresh.stress.clone()))

    run(bulk("Ar", "fcc", a=5.4, cubic=True), 30, NVE(), temperature=300.0, skin=0.2, on_step=look, every=10)
    for snapshot, positions, temperature, stress in kept:
        assert torch.equal(snapshot.state.positions, positions)
        assert torch.equal(snapshot.temperature, temperature)
        assert torch.allclose(snapshot.stress, stress, atol=1e-14)


def test_a_refused_run_leaves_an_earlier_file_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "last.xyz"
    run(mixed_systems(1), 1, out=out)
    written = out.read_text()
    for options in ({"seed": -1}, {"temperature": -5.0}):
        with pytest.raises(InputError):
            run(mixed_systems(1), 1, out=out, overwrite=True, **options)
        assert out.read_text() == written
