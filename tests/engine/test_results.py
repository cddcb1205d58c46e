"""Results on disk: what was reported as written is there, whatever happens to the process."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pyarrow.parquet
import pytest
from ase import Atoms
from ase.build import bulk

from shoal.engine import evaluate, read_results, results_folder
from shoal.errors import InputError
from shoal.potentials import LennardJones


def argon() -> LennardJones:
    return LennardJones({"Ar": (0.0104, 3.4)}, cutoff=6.0)


def structures(n: int) -> list[Atoms]:
    """Crystals and molecules in turn, all different; number 4 has an element argon() does not know."""
    frames = []
    for k in range(n):
        atoms = bulk("Ar", "fcc", a=5.2 + 0.01 * k, cubic=True) if k % 2 else Atoms("Ar2", [[0, 0, 0], [3.7, 0, 0]])
        atoms.rattle(0.05, seed=k)
        frames.append(atoms)
    if n > 4:
        frames[4].symbols[1] = "Kr"
    return frames


OUTPUTS = ("energy", "forces", "stress", "atomic_energy")


def assert_same_table(table: dict, expected: dict) -> None:
    assert list(table) == list(expected)
    for name, column in expected.items():
        if isinstance(column, np.ndarray):
            np.testing.assert_array_equal(table[name], column, err_msg=name)
            continue
        for value, wanted in zip(table[name], column, strict=True):
            if isinstance(wanted, np.ndarray):
                np.testing.assert_array_equal(value, wanted, err_msg=name)
            else:
                assert value == wanted, name


@pytest.mark.parametrize("part_systems", [3, 5, 10_000], ids="parts of {}".format)
def test_a_folder_holds_the_table_that_memory_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_systems: int
) -> None:
    monkeypatch.setattr(results_folder, "PART_SYSTEMS", part_systems)
    frames, folder = structures(10), tmp_path / "new" / "results"
    written = evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, max_atoms=8)
    expected = evaluate(frames, argon(), outputs=OUTPUTS, errors="status").to_table()
    assert_same_table(read_results(folder), expected)
    assert expected["status"][4] == "unsupported"
    assert expected["stress"][0] is None
    assert not (folder / "journal.jsonl").exists()
    assert len(written) == 10
    with pytest.raises(InputError, match="the results are in .*results"):
        _ = written.energies


def test_parts_open_without_shoal(tmp_path: Path) -> None:
    evaluate(structures(6), argon(), errors="status", out=tmp_path / "r")
    table = pyarrow.parquet.read_table(tmp_path / "r" / "part-000000.parquet")
    assert table.column("id").to_pylist() == list(range(6))
    assert table.column("energy").to_pylist()[4] is None
    assert np.shape(table.column("forces").to_pylist()[1]) == (4, 3)
    assert table.schema.field("forces").metadata == {b"unit": b"eV/A"}


def test_nothing_evaluated_is_a_complete_empty_table(tmp_path: Path) -> None:
    evaluate([], argon(), out=tmp_path / "r")
    table = read_results(tmp_path / "r")
    assert len(table["id"]) == 0
    assert table["forces"] == []


class Stop(Exception):
    """Raised in place of a crash."""


def evaluate_until(n_batches: int, frames: list[Atoms], folder: Path, **options) -> None:
    """Evaluate into a folder and stop after some batches, leaving it as a killed process would."""
    seen = []

    def stop(batch: object) -> None:
        seen.append(batch)
        if len(seen) == n_batches:
            raise Stop

    with pytest.raises(Stop):
        evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, max_atoms=8, on_batch=stop, **options)


@pytest.mark.parametrize("n_batches", [1, 2, 4])
def test_a_stopped_run_is_readable_and_resumes_to_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_batches: int
) -> None:
    monkeypatch.setattr(results_folder, "PART_SYSTEMS", 5)
    frames, folder = structures(12), tmp_path / "r"
    expected = evaluate(frames, argon(), outputs=OUTPUTS, errors="status").to_table()
    evaluate_until(n_batches, frames, folder)
    partial = read_results(folder)
    done = len(partial["id"])
    assert 0 < done < 12
    np.testing.assert_array_equal(partial["energy"], expected["energy"][:done])

    rest = evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, resume=True)
    assert len(rest) == 12 - done
    assert_same_table(read_results(folder), expected)
    again = evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, resume=True)
    assert len(again) == 0
    assert_same_table(read_results(folder), expected)


def test_the_journal_holds_only_what_is_in_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_folder, "PART_SYSTEMS", 5)
    folder = tmp_path / "r"
    evaluate_until(3, structures(12), folder)
    in_parts = pyarrow.parquet.read_table(folder / "part-000000.parquet").column("id").to_pylist()
    in_journal = [json.loads(line)["id"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert in_parts + in_journal == read_results(folder)["id"].tolist()


def test_a_torn_last_line_is_no_result_and_the_run_resumes(tmp_path: Path) -> None:
    frames, folder = structures(12), tmp_path / "r"
    evaluate_until(3, frames, folder)
    journal = folder / "journal.jsonl"
    content = journal.read_bytes()
    complete = content.count(b"\n")
    journal.write_bytes(content[:-40])
    assert len(read_results(folder)["id"]) == complete - 1
    evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, resume=True)
    expected = evaluate(frames, argon(), outputs=OUTPUTS, errors="status").to_table()
    assert_same_table(read_results(folder), expected)


def test_a_kill_between_part_and_journal_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part is there under its name, the journal still has its rows, a half-written part lies about."""
    frames, folder = structures(12), tmp_path / "r"
    evaluate_until(3, frames, folder)
    journal = (folder / "journal.jsonl").read_bytes()
    n_done = journal.count(b"\n")
    monkeypatch.setattr(results_folder, "PART_SYSTEMS", n_done)
    evaluate_until(1, frames, folder, resume=True)
    (folder / "journal.jsonl").write_bytes(journal)
    (folder / ".tmp-part-000007.parquet").write_bytes(b"PAR1")
    assert (folder / "part-000000.parquet").exists()
    table = read_results(folder)
    assert table["id"].tolist() == sorted(set(table["id"].tolist()))
    evaluate(frames, argon(), outputs=OUTPUTS, errors="status", out=folder, resume=True)
    expected = evaluate(frames, argon(), outputs=OUTPUTS, errors="status").to_table()
    assert_same_table(read_results(folder), expected)


CHILD = """
import sys, torch
torch.set_num_threads(1)
from ase.build import bulk
from shoal.engine import evaluate, results_folder
from shoal.potentials import LennardJones

results_folder.PART_SYSTEMS = 40
argon = LennardJones({"Ar": (0.0104, 3.4)}, cutoff=6.0)

def frames():
    for k in range(100_000):
        yield bulk("Ar", "fcc", a=5.2 + 1e-5 * k)

def report(batch):
    for result in batch:
        print(result.system_id, float(result.values["energy"]).hex(), flush=True)

evaluate(frames(), argon, out=sys.argv[1], max_atoms=7, resume=len(sys.argv) > 2, on_batch=report)
"""


def test_kill_9_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    """Killed twice, the second time after a resume; parts of 40 systems and the journal in between."""
    reported: dict[int, float] = {}
    for n_more, arguments in ((150, []), (75, ["resume"])):
        command = [sys.executable, "-c", CHILD, str(tmp_path / "r"), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(n_more):
                number, energy = child.stdout.readline().split()
                assert int(number) not in reported
                reported[int(number)] = float.fromhex(energy)
            child.kill()
            for line in child.stdout.read().splitlines():
                if len(line.split()) == 2:
                    reported.setdefault(int(line.split()[0]), float.fromhex(line.split()[1]))
        table = read_results(tmp_path / "r")
        found = dict(zip(table["id"].tolist(), table["energy"].tolist(), strict=True))
        assert len(found) == len(table["id"])
        assert {number: found.get(number) for number in reported} == reported
    assert len(list((tmp_path / "r").glob("part-*.parquet"))) >= 3


def test_a_kill_before_anything_was_written_leaves_a_folder_to_start_in(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".tmp-about.json").write_text("{")
    evaluate(structures(2), argon(), out=tmp_path / "r", resume=True)
    assert read_results(tmp_path / "r")["id"].tolist() == [0, 1]


def test_results_are_never_replaced_unasked(tmp_path: Path) -> None:
    frames = structures(3)
    for out in (tmp_path / "r", tmp_path / "r.xyz"):
        evaluate(frames, argon(), out=out)
        with pytest.raises(InputError, match="--overwrite"):
            evaluate(frames[:2], argon(), out=out)
        evaluate(frames[:2], argon(), out=out, overwrite=True)
    assert read_results(tmp_path / "r")["id"].tolist() == [0, 1]
    assert len(ase.io.read(tmp_path / "r.xyz", ":")) == 2


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("42")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match=r"thesis.tex"):
            evaluate(structures(2), argon(), out=tmp_path, **options)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("model", ["silicon_package", "scripted_silicon"])
def test_a_finished_run_resumes_with_its_own_model_and_outputs_only(
    tmp_path: Path, model: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(model)
    frames, folder = [bulk("Si", cubic=True)], tmp_path / "r"
    options = {"out": folder, "chemical_species_to_atom_type_map": True}
    evaluate(frames, path, **options)
    assert len(evaluate(frames, path, resume=True, **options)) == 0
    with pytest.raises(InputError, match="holds energy, forces, stress, asked for energy"):
        evaluate(frames, path, outputs=["energy"], resume=True, **options)
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "model": "0" * 64}))
    with pytest.raises(InputError, match="another model file"):
        evaluate(frames, path, resume=True, **options)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "no results folder"),
        (lambda folder: folder.mkdir(), "no results folder"),
        (lambda folder: (folder.mkdir(), (folder / "about.json").write_text("{")), "no results folder"),
        (lambda folder: (folder.mkdir(), (folder / "about.json").write_text('{"shoal_results": 9}')), "layout 9"),
    ],
)
def test_what_is_no_results_folder_is_refused(tmp_path: Path, prepare, message: str) -> None:
    prepare(tmp_path / "r")
    with pytest.raises(InputError, match=message):
        read_results(tmp_path / "r")


def test_damage_is_named(tmp_path: Path) -> None:
    frames, folder = structures(8), tmp_path / "r"
    evaluate_until(2, frames, folder)
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text(lines[0][:30] + "\n" + "".join(lines[1:]))
    with pytest.raises(InputError, match=r"journal.jsonl: line 1 is damaged"):
        read_results(folder)
    evaluate(frames, argon(), errors="status", out=folder, overwrite=True)
    part = folder / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"part-000000.parquet: cannot be read"):
        read_results(folder)


def test_extended_xyz_is_read_by_ase_with_results_and_statuses(tmp_path: Path) -> None:
    frames, out = structures(6), tmp_path / "out.extxyz"
    counts: list[int] = []
    evaluate(
        frames,
        argon(),
        errors="status",
        out=out,
        max_atoms=8,
        on_batch=lambda batch: counts.append(len(ase.io.read(out, ":"))),
    )
    assert counts == [3, 5, 6]
    expected = evaluate(frames, argon(), errors="status")
    for k, atoms in enumerate(ase.io.read(out, ":")):
        np.testing.assert_allclose(atoms.positions, frames[k].positions, atol=1e-7)
        assert atoms.info["status"] == expected.statuses[k]
        if k == 4:
            assert "Kr" in atoms.info["reason"]
            continue
        assert atoms.get_potential_energy() == pytest.approx(expected.energies[k], abs=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces[k], atol=1e-7)


def test_labels_of_the_input_do_not_survive_as_results(tmp_path: Path) -> None:
    """An input file that carries forces and energies of its own: the output has the potential's."""
    atoms = structures(2)[1]
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms.calc = SinglePointCalculator(atoms, energy=-99.0, forces=np.full((4, 3), 9.0))
    ase.io.write(tmp_path / "in.xyz", atoms)
    evaluate(tmp_path / "in.xyz", argon(), out=tmp_path / "out.xyz")
    back = ase.io.read(tmp_path / "out.xyz")
    assert back.get_potential_energy() == pytest.approx(evaluate(atoms, argon()).energies[0], abs=1e-7)
    assert abs(back.get_forces()).max() < 1


def test_an_output_name_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, message in ((tmp_path / "file", "is a file"), (tmp_path / "file" / "r", "cannot write there")):
        with pytest.raises(InputError, match=message):
            evaluate(structures(2), argon(), out=out)
    with pytest.raises(InputError, match="only a results folder can be resumed"):
        evaluate(structures(2), argon(), out=tmp_path / "a.xyz", resume=True)
    with pytest.raises(InputError, match="exclude each other"):
        evaluate(structures(2), argon(), out=tmp_path / "r", resume=True, overwrite=True)


@pytest.mark.parametrize("name", ["r", "r.xyz"])
def test_structures_are_let_go_once_they_are_written(tmp_path: Path, name: str) -> None:
    """Of 60 structures in batches of two, no more than two batches are alive at any time."""
    alive: set[int] = set()
    most = 0

    def frames() -> Iterator[Atoms]:
        nonlocal most
        for k in range(60):
            atoms = bulk("Ar", "fcc", a=5.2 + 0.01 * k)
            alive.add(k)
            weakref.finalize(atoms, alive.discard, k)
            most = max(most, len(alive))
            yield atoms

    evaluate(frames(), argon(), out=tmp_path / name, max_atoms=2)
    assert most <= 5


def test_resuming_with_other_structures_is_refused(tmp_path: Path) -> None:
    from ase.build import bulk

    from shoal.engine import evaluate
    from shoal.errors import InputError
    from shoal.potentials import LennardJones

    potential = LennardJones({"Ar": (0.0104, 3.4), "Ne": (0.003, 2.8)}, 6.0)
    argon, neon = bulk("Ar", "fcc", a=5.3), bulk("Ne", "fcc", a=4.5)
    evaluate([argon, argon], potential, out=tmp_path / "r")
    with pytest.raises(InputError, match="system 0 is Ar there and Ne in the input"):
        evaluate([neon, argon, argon], potential, out=tmp_path / "r", resume=True)
    with pytest.raises(InputError, match="results of 2 structures, the input has 1"):
        evaluate([argon], potential, out=tmp_path / "r", resume=True)
    assert evaluate([argon, argon, neon], potential, out=tmp_path / "r", resume=True).counts.n_systems == 1


def test_every_output_asked_for_is_in_an_extended_xyz(tmp_path: Path) -> None:
    outputs = ("energy", "atomic_energy", "forces", "virial")
    evaluate(structures(2), argon(), outputs=outputs, out=tmp_path / "all.xyz")
    for back, result in zip(
        ase.io.read(tmp_path / "all.xyz", ":"), evaluate(structures(2), argon(), outputs=outputs), strict=True
    ):
        np.testing.assert_allclose(back.info["virial"], result.values["virial"], atol=1e-7)
        np.testing.assert_allclose(back.get_potential_energies(), result.values["atomic_energy"], atol=1e-7)
