"""evaluate: every structure gets its own answer, in input order, whatever its batch-mates are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.lj import LennardJones as AseLennardJones

import shoal
from shoal.engine import BatchCalculator, SystemResult, evaluate
from shoal.errors import InputError, UnsupportedRequestError, UnsupportedSpeciesError
from shoal.io import atoms_to_state
from shoal.potentials import LennardJones
from shoal.status import Status
from shoal.units import GPA

EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 6.5


@pytest.fixture(scope="module")
def argon() -> LennardJones:
    return LennardJones({"Ar": (EPSILON, SIGMA)}, cutoff=CUTOFF, truncation="shift")


def structures() -> list[Atoms]:
    """Crystals, a slab, a cluster and single atoms, of 1 to 32 atoms, none of them relaxed."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    cluster = Atoms("Ar3", [[0, 0, 0], [3.7, 0, 0], [0.3, 3.9, 0.2]])
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=8.0, periodic=False)
    frames = [crystal, crystal * (2, 2, 2), cluster, slab, Atoms("Ar"), bulk("Ar", "fcc", a=5.3), crystal.copy()]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.08, seed=k)
        atoms.info["number"] = k
    return frames


def ase_oracle() -> AseLennardJones:
    return AseLennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, smooth=False)


@pytest.mark.parametrize("max_atoms", [1, 7, 10_000])
def test_energies_forces_and_stress_are_those_of_ase_one_by_one(argon: LennardJones, max_atoms: int) -> None:
    frames = structures()
    results = evaluate(frames, argon, max_atoms=max_atoms)
    assert results.statuses == ["done"] * len(frames)
    assert results.ids == list(range(len(frames)))
    for k, atoms in enumerate(frames):
        atoms.calc = ase_oracle()
        assert results.energies[k] == pytest.approx(atoms.get_potential_energy(), abs=1e-11)
        np.testing.assert_allclose(results.forces[k], atoms.get_forces(), atol=1e-11)
        if atoms.cell.rank == 3:
            np.testing.assert_allclose(results.stress[k], atoms.get_stress(voigt=False), atol=1e-12)
        else:
            assert np.isnan(results.stress[k]).all()


def test_batches_are_consecutive_and_no_larger_than_asked(argon: LennardJones) -> None:
    sizes: list[list[int]] = []
    evaluate(structures(), argon, max_atoms=8, on_batch=lambda batch: sizes.append([r.n_atoms for r in batch]))
    assert sizes == [[4], [32], [3], [8], [1, 1, 4]]


def test_a_state_a_list_a_generator_and_files_give_the_same(argon: LennardJones, tmp_path: Path) -> None:
    frames = structures()
    expected = evaluate(frames, argon)
    for k, part in enumerate((frames[:3], frames[3:])):
        ase.io.write(tmp_path / f"part{k}.traj", part)
    inputs = {
        "state": atoms_to_state(frames),
        "generator": (atoms for atoms in frames),
        "pattern": str(tmp_path / "*.traj"),
        "files": [tmp_path / "part0.traj", tmp_path / "part1.traj"],
        "mixed": [tmp_path / "part0.traj", *frames[3:]],
    }
    for name, given in inputs.items():
        results = evaluate(given, argon, max_atoms=10)
        np.testing.assert_allclose(results.energies, expected.energies, rtol=1e-13, err_msg=name)
        for forces, wanted in zip(results.forces, expected.forces, strict=True):
            np.testing.assert_allclose(forces, wanted, atol=1e-13, err_msg=name)
    assert evaluate(tmp_path / "part1.traj", argon)[2].source.endswith("part1.traj, frame 2")


def test_nothing_in_gives_an_empty_result(argon: LennardJones) -> None:
    results = evaluate([], argon)
    assert len(results) == 0
    assert results.energies.shape == (0,)
    assert results.stress.shape == (0, 3, 3)
    assert (results.forces, results.ids, results.to_atoms()) == ([], [], [])
    assert results.summary().startswith("0 systems")
    assert len(results.to_table()["energy"]) == 0


def nan_position(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.nan


def infinite_cell(atoms: Atoms) -> None:
    atoms.cell[1, 1] = np.inf


def dependent_cell(atoms: Atoms) -> None:
    atoms.cell[2] = atoms.cell[0] + atoms.cell[1]


def unknown_element(atoms: Atoms) -> None:
    atoms.symbols[1] = "Xe"


def overlap(atoms: Atoms) -> None:
    atoms.positions[3] = atoms.positions[0]


BAD = {
    nan_position: (Status.INVALID_INPUT, InputError, "position of atom 2"),
    infinite_cell: (Status.INVALID_INPUT, InputError, "cell of lattice vector 1"),
    dependent_cell: (Status.INVALID_INPUT, InputError, "linearly dependent"),
    unknown_element: (Status.UNSUPPORTED, UnsupportedSpeciesError, r"Xe \(system 5, atom 1\)"),
    overlap: (Status.NON_FINITE, InputError, "energy is not finite"),
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda f: f.__name__)
def test_a_bad_structure_ends_alone_with_its_status_and_the_others_do_not_feel_it(argon: LennardJones, spoil) -> None:
    frames = structures()
    frames.insert(5, bulk("Ar", "fcc", a=5.3, cubic=True))
    expected = evaluate(frames, argon)
    spoil(frames[5])
    status, error, message = BAD[spoil]

    results = evaluate(frames, argon, errors="status")
    assert results.statuses == ["done"] * 5 + [status] + ["done"] * 2
    assert [bool(reason) for reason in results.reasons] == [k == 5 for k in range(8)]
    assert np.isnan(results.energies[5])
    assert np.isnan(results.forces[5]).all()
    others = [k for k in range(8) if k != 5]
    np.testing.assert_allclose(results.energies[others], expected.energies[others], rtol=1e-12)
    for k in others:
        np.testing.assert_allclose(results.forces[k], expected.forces[k], atol=1e-12)
    assert results.counts.n_failed == 1
    assert f"1 {status}" in results.summary()

    with pytest.raises(error, match=f"structure 5: .*{message}"):
        evaluate(frames, argon, errors="raise")


@pytest.mark.parametrize("spoil", [dependent_cell, unknown_element, overlap], ids=lambda f: f.__name__)
def test_a_bad_system_of_a_state_ends_alone_too(argon: LennardJones, spoil) -> None:
    frames = structures()
    frames.insert(5, bulk("Ar", "fcc", a=5.3, cubic=True))
    state = atoms_to_state(frames, system_ids=range(100, 108))
    spoil(frames[5])
    spoiled = frames[5]
    state.cell[5] = state.cell.new_tensor(spoiled.cell.array)
    rows = slice(int(state.offsets[5]), int(state.offsets[6]))
    state.positions[rows] = state.positions.new_tensor(spoiled.positions)
    state.atomic_numbers[rows] = state.atomic_numbers.new_tensor(spoiled.numbers)
    results = evaluate(state, argon, errors="status")
    assert results.statuses == ["done"] * 5 + [BAD[spoil][0]] + ["done"] * 2
    assert results.ids == list(range(100, 108))
    assert "105" in results.reasons[5] or BAD[spoil][0] is Status.NON_FINITE


def test_a_molecule_without_volume_is_done_though_its_stress_is_undefined(argon: LennardJones) -> None:
    results = evaluate(Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]]), argon, errors="status")
    assert results.statuses == [Status.DONE]
    assert np.isnan(results.stress).all()
    assert "stress" not in results.to_atoms()[0].calc.results


def test_atoms_on_top_of_each_other_are_found_by_the_virial_where_stress_is_undefined(argon: LennardJones) -> None:
    frames = [Atoms("Ar2", [[0, 0, 0], [0, 0, d]]) for d in (3.8, 0.0)]
    results = evaluate(frames, argon, outputs=("stress",), errors="status")
    assert results.statuses == [Status.DONE, Status.NON_FINITE]
    assert "virial is not finite" in results.reasons[1]
    assert set(results[0].values) == {"stress"}


def test_an_error_names_the_file_and_the_frame(argon: LennardJones, tmp_path: Path) -> None:
    frames = [bulk("Ar", "fcc", a=5.3, cubic=True) for _ in range(4)]
    frames[3].symbols[2] = "O"
    ase.io.write(tmp_path / "many.traj", frames)
    with pytest.raises(UnsupportedSpeciesError, match=r"structure 3 \(.*many.traj, frame 3\): O \(system 3, atom 2\)"):
        evaluate(tmp_path / "many.traj", argon)


def test_what_a_batch_cannot_hold_in_memory_is_halved(argon: LennardJones) -> None:
    """A calculator that runs out of memory above 8 atoms: only the structure that never fits is too large."""
    import torch

    class Small(BatchCalculator):
        def __call__(self, state, outputs=()):
            if state.n_atoms > 8:
                raise torch.OutOfMemoryError("out of memory")
            return super().__call__(state, outputs)

    frames = structures()
    results = evaluate(frames, Small(argon), errors="status")
    assert results.statuses == ["done", "too_large", *["done"] * 5]
    expected = evaluate(frames, argon).energies
    np.testing.assert_allclose(results.energies[2:], expected[2:], rtol=1e-12)


def test_files_are_read_as_they_are_needed(argon: LennardJones) -> None:
    """With a limit of one structure per batch, at most two are out of the generator and unfinished."""
    finished, ahead = [], []

    def frames() -> Iterator[Atoms]:
        for k in range(20):
            ahead.append(k - len(finished))
            yield bulk("Ar", "fcc", a=5.2 + 0.01 * k)

    evaluate(frames(), argon, max_atoms=1, on_batch=finished.extend)
    assert len(finished) == 20
    assert max(ahead) <= 1


@pytest.mark.parametrize("outputs", [("energy",), ("atomic_energy", "energy"), ("virial",), ("forces", "stress")])
def test_only_what_is_asked_for_is_given(argon: LennardJones, outputs: tuple[str, ...]) -> None:
    results = evaluate(structures(), argon, outputs=outputs)
    assert all(set(system.values) == set(outputs) for system in results)
    if "energy" not in outputs:
        with pytest.raises(InputError, match="energy was not asked for"):
            _ = results.energies


def test_to_atoms_gives_the_structures_back_with_their_results(argon: LennardJones) -> None:
    frames = structures()
    frames[3].symbols[0] = "Kr"
    out = evaluate(frames, argon, errors="status", system_ids=[7, 5, 3, 1, 2, 4, 6]).to_atoms()
    assert [a.info["system_id"] for a in out] == [7, 5, 3, 1, 2, 4, 6]
    for k, (atoms, given) in enumerate(zip(out, frames, strict=True)):
        np.testing.assert_array_equal(atoms.positions, given.positions)
        assert atoms.info["number"] == k
        assert "status" not in given.info
        if k == 3:
            assert atoms.calc is None
            assert atoms.info["status"] == "unsupported"
            assert "Kr" in atoms.info["reason"]
        else:
            given.calc = ase_oracle()
            assert atoms.get_potential_energy() == pytest.approx(given.get_potential_energy(), abs=1e-11)
            np.testing.assert_allclose(atoms.get_forces(), given.get_forces(), atol=1e-11)


def test_the_table_holds_largest_force_and_pressure(argon: LennardJones) -> None:
    frames = structures()[:2]
    table = evaluate(frames, argon).to_table()
    assert table["formula"] == ["Ar4", "Ar32"]
    for k, atoms in enumerate(frames):
        atoms.calc = ase_oracle()
        assert table["fmax"][k] == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max())
        assert table["pressure"][k] == pytest.approx(-np.trace(atoms.get_stress(voigt=False)) / 3 / GPA)


def test_any_model_file_will_do(silicon_package: Path) -> None:
    frames = [bulk("Si", "diamond", a=a, cubic=True) for a in (5.3, 5.43, 5.6)]
    results = shoal.evaluate(frames, silicon_package, chemical_species_to_atom_type_map=True)
    assert np.isfinite(results.energies).all()
    assert np.ptp(results.energies) > 1e-6


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"outputs": ("dipole",)}, UnsupportedRequestError, "dipole"),
        ({"errors": "ignore"}, InputError, "ignore"),
        ({"max_atoms": 0}, InputError, "max_atoms"),
        ({"system_ids": [0, 1]}, InputError, "2 system_ids"),
        ({"system_ids": list(range(20))}, InputError, "20 system_ids for 7"),
        ({"system_ids": [0] * 7}, InputError, "unique"),
    ],
)
def test_wrong_arguments_are_named(argon: LennardJones, given: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(structures(), argon, **given)


def test_what_is_no_structure_is_named(argon: LennardJones) -> None:
    with pytest.raises(InputError, match="item 1 is no ase.Atoms and no file, but int"):
        evaluate([molecule("H2O"), 3], argon)
    with pytest.raises(InputError, match="does not exist"):
        evaluate("nowhere.xyz", argon)


def test_the_input_is_not_changed(argon: LennardJones) -> None:
    frames, before = structures(), structures()
    results: list[SystemResult] = []
    evaluate(frames, argon, on_batch=results.extend)
    for atoms, old in zip(frames, before, strict=True):
        assert atoms == old
        assert set(atoms.info) == set(old.info)
        assert atoms.calc is None
