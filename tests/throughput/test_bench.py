"""`shoal.bench` evaluates what it says, and says what it evaluated; how fast is not a test's business."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from shoal.conformance.open import subject_of
from shoal.errors import InputError
from shoal.files import read_metadata
from shoal.potentials import LennardJones, Potential
from shoal.throughput.memory import PeakMemory
from shoal.throughput.structures import Crystals, Given, batches, repeated

ARGON = {"Ar": (0.0104, 3.4)}


@pytest.fixture(scope="module")
def argon() -> LennardJones:
    return LennardJones(ARGON, cutoff=8.5)


def quick(model: object, structures: list[Atoms] | tuple[()] = (), **options: object) -> shoal.throughput.Throughput:
    few = {"atoms": (8,), "max_atoms": 16, "n_steps": 2, "rounds": 1, "compile": False}
    return shoal.bench(model, structures, chemical_species_to_atom_type_map=True, **{**few, **options})  # type: ignore[arg-type]


def test_batches_double_to_the_largest_and_every_evaluation_is_of_its_atoms(
    argon: LennardJones, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    forward = Potential.forward

    def counted(self: Potential, state: shoal.SimState, *rest: object, **more: object) -> dict[str, torch.Tensor]:
        seen.append((state.n_systems, state.n_atoms))
        return forward(self, state, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Potential, "forward", counted)
    found = quick(argon, atoms=(8, 16), max_atoms=40)
    assert [series.name for series in found.series] == ["crystals of 8 atoms", "crystals of 16 atoms"]
    sizes = [[(batch.n_systems, batch.n_atoms) for batch in series.batches] for series in found.series]
    assert sizes == [[(1, 8), (2, 16), (4, 32)], [(1, 16), (2, 32)]]
    assert {size for series in sizes for size in series} <= set(seen)
    assert [step.name for step in found.steps] == ["evaluation", "NVE step, not compiled", "FIRE step, not compiled"]
    for step in found.steps:
        assert sum(step.shares.values()) == pytest.approx(1)
        assert min(step.parts.values()) >= 0
        assert step.parts["model"] > 0
    assert all(batch.list.median > 0 for series in found.series for batch in series.batches)


def test_progress_goes_from_nothing_to_nearly_all(argon: LennardJones) -> None:
    told: list[tuple[float, str]] = []
    quick(argon, rounds=2, progress=lambda share, line: told.append((share, line)))
    shares = [share for share, _ in told]
    assert shares == pytest.approx([k / len(told) for k in range(len(told))])
    assert "8 atoms, first call" in told[0][1]
    assert "FIRE, round 2 of 2" in told[-1][1]


def test_given_structures_are_taken_and_repeated(argon: LennardJones) -> None:
    mixed = [bulk("Ar", "fcc", a=5.3, cubic=True), bulk("Ar", "fcc", a=5.3)]
    (series,) = quick(argon, mixed, max_atoms=11).series
    assert series.name == "2 given structures"
    assert [(batch.n_systems, batch.n_atoms) for batch in series.batches] == [(1, 4), (2, 5), (4, 10)]


def test_a_compiled_file_tells_its_kernel(fused_silicon: Path) -> None:
    found = quick(fused_silicon)
    metadata = read_metadata(fused_silicon)
    assert found.model["kernel"].startswith("native, ")
    assert f"{metadata.radial_table['pieces']:.0f} pieces" in found.model["radial tables"]
    assert (found.model["dtype"], found.model["cutoff"]) == ("float32", f"{metadata.cutoff:g} A")
    assert found.threads == torch.get_num_threads()


def test_what_cannot_move_has_no_step(argon: LennardJones) -> None:
    found = quick(argon, [Atoms("Ar")])
    assert [step.name for step in found.steps] == ["evaluation", "NVE step, not compiled"]


def test_crystals_differ_and_come_again(argon: LennardJones) -> None:
    crystals = Crystals(subject_of(argon, chemical_species_to_atom_type_map=True), 9)
    first, second = crystals(2)
    assert len(first) == 16
    assert not np.allclose(first.positions, second.positions)
    np.testing.assert_array_equal(first.positions, crystals(4)[0].positions)
    assert [len(batch) for batch in batches(crystals, 64)] == [1, 2, 4]
    assert [len(batch) for batch in batches(crystals, 3)] == [1]


def test_supercells_stay_compact() -> None:
    cell = bulk("Ar", "fcc", a=5.3, cubic=True)
    for wanted, expected in ((1, 4), (5, 8), (30, 32), (33, 64)):
        assert len(repeated(cell, wanted)) == expected
    lengths = repeated(cell, 256).cell.lengths()
    assert lengths.max() / lengths.min() == pytest.approx(1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell peaks")
def test_memory_of_a_call_is_that_of_its_arrays() -> None:
    size = 64_000_000
    grown = PeakMemory(torch.device("cpu")).of(lambda: np.ones(size // 8))
    assert grown == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"max_atoms": 0}, "max_atoms must be at least 1"),
        ({"rounds": -1}, "rounds must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"atoms": ()}, "at least one number of atoms"),
        ({"atoms": (0,)}, "at least one atom"),
    ],
)
def test_counts_below_one_are_refused(argon: LennardJones, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick(argon, **options)


def test_what_takes_one_structure_at_a_time_is_refused() -> None:
    with pytest.raises(InputError, match="one structure at a time"):
        shoal.bench("ase.calculators.emt:EMT")


def test_structures_without_atoms_are_refused() -> None:
    with pytest.raises(InputError, match="no structures with atoms"):
        Given([Atoms()])
