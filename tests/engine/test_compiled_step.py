"""Compiled steps give the numbers of eager ones, for any sizes, from one compilation a method."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from tests.engine.runs import largest_difference, lennard_jones, mixed_systems, positions_by_id
from tests.moving import systems_of

import shoal
from shoal.dynamics import NVE, Integrator, Langevin
from shoal.engine import Limits, RunResults, graph
from shoal.engine.admission import n_rounds
from shoal.engine.compiled_step import Listed, pair_evaluation
from shoal.engine.stepping import Stepping
from shoal.errors import CompileError, ShoalWarning
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.neighbors.native import is_available
from shoal.potentials import LennardJones, Potential, ShortRangePotential, StillingerWeber, Sum, pair_terms
from shoal.relaxation import FIRE
from shoal.status import Status
from shoal.testing import close

KERNELS = ShortRangePotential.has_kernels
LANGEVIN = Langevin(temperature=60.0, friction=0.02)
# a sum whose terms count types differently, so that the lookup of types is compiled, too
POTENTIAL = Sum(
    lennard_jones(), LennardJones({"Kr": (0.002, 3.0), "Xe": (0.02, 4.0), "Ar": (0.001, 3.2)}, 5.0, "shift")
)


@pytest.fixture(scope="module", autouse=True)
def without_kernels() -> Iterator[pytest.MonkeyPatch]:
    """C++ kernels would take the place of what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShortRangePotential, "has_kernels", False)
        yield patch


@pytest.fixture(scope="module")
def count_compilations() -> Iterator[list[int]]:
    counted: list[int] = []
    original = graph.compiled_graph

    def counting(*arguments: object) -> object:
        counted.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    from shoal.engine import compiled_step

    patch = pytest.MonkeyPatch()
    patch.setattr(compiled_step, "compiled_graph", counting)
    yield counted
    patch.undo()


def run(n_systems: int, n_steps: int, integrator: Integrator, compile: bool, **options: object) -> RunResults:
    return shoal.simulate(
        mixed_systems(n_systems),
        POTENTIAL,
        integrator,
        2.0,
        n_steps,
        seed=4,
        temperature=60.0,
        compile=compile,
        progress=False,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("integrator", [NVE(), LANGEVIN], ids=["NVE", "Langevin"])
def test_dynamics(integrator: Integrator, count_compilations: list[int]) -> None:
    count_compilations.clear()
    for n_systems in (12, 1, 5):
        compiled = run(n_systems, 50, integrator, True, skin=0.4)
        eager = run(n_systems, 50, integrator, False, skin=0.4)
        assert compiled.info.compiled
        assert not eager.info.compiled
        assert largest_difference(positions_by_id(compiled), positions_by_id(eager)) < 1e-10
        assert np.allclose(compiled.energies, eager.energies, rtol=1e-11, atol=1e-12)
    assert len(count_compilations) == 1


@pytest.mark.usefixtures("two_threads")
def test_on_two_threads() -> None:
    compiled, eager = (run(12, 2, LANGEVIN, compile) for compile in (True, False))
    assert largest_difference(positions_by_id(compiled), positions_by_id(eager)) < 1e-12


def test_a_list_that_grows_too_short_within_a_step_is_renewed() -> None:
    compiled = run(6, 30, NVE(), True, skin=0.01)
    eager = run(6, 30, NVE(), False, skin=3.0)
    assert compiled.info.n_rebuilds > 10
    assert largest_difference(positions_by_id(compiled), positions_by_id(eager)) < 1e-10


def test_failures_are_frozen() -> None:
    systems = mixed_systems(4)
    velocities = np.zeros_like(systems[2].positions)
    velocities[1] = [1.0, 0, 0]  # 2 A a step
    systems[2].set_velocities(velocities / 0.09822694788464063)
    results = shoal.simulate(systems, POTENTIAL, NVE(), 2.0, 10, compile=True, progress=False)
    assert results.statuses == [Status.EXPLODED if k == 2 else Status.DONE for k in range(4)]
    assert np.array_equal(results.to_atoms()[2].positions, systems[2].positions)


def test_relaxation(count_compilations: list[int]) -> None:
    count_compilations.clear()
    systems = [atoms for k, atoms in enumerate(mixed_systems(12)) if k % 4 != 1]
    options = {"cell": "frechet", "fmax": 0.005, "progress": False, "max_atoms": 24}
    compiled = shoal.relax(systems, POTENTIAL, compile=True, **options)  # type: ignore[arg-type]
    eager = shoal.relax(systems, POTENTIAL, compile=False, **options)  # type: ignore[arg-type]
    assert len(count_compilations) == 1
    assert compiled.statuses == [Status.CONVERGED] * len(systems)
    assert compiled.n_steps.tolist() == eager.n_steps.tolist()
    assert largest_difference(positions_by_id(compiled), positions_by_id(eager)) < 1e-7


def test_what_cannot_be_compiled_goes_on_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from shoal.engine import compiled_step, stepping

    def failing(*_: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiled_step, "compiled_graph", failing)
    monkeypatch.setattr(stepping, "COMPILING", {NVE: 0.0})
    potential = lennard_jones()
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True)
    with pytest.raises(CompileError, match="no compiler here"):
        shoal.simulate(atoms, potential, NVE(), 1.0, 2, compile=True, progress=False)
    with pytest.warns(ShoalWarning, match="no compiler here"):
        results = shoal.simulate(atoms, potential, NVE(), 1.0, 2, progress=False)
    assert results.statuses == [Status.DONE]
    assert not results.info.compiled


@pytest.mark.parametrize("skin", [0.0, 1.0])
def test_sums_on_the_matrix_are_those_of_the_edges(skin: float) -> None:
    """Eager and compiled steps share these sums; the potential's own go by edges, autograd and segment sums."""
    state = atoms_to_state(mixed_systems(12))
    types = POTENTIAL.type_map()(state)
    assert len(types.unique()) == 2
    neighbors = neighbor_list(state, POTENTIAL.cutoff, skin)
    terms = pair_terms(POTENTIAL)
    assert terms is not None
    listed = Listed.of(neighbors, types, with_pairs=True)
    found = pair_evaluation(terms, listed, systems_of(state), state.positions, state.cell)
    expected = POTENTIAL(state, neighbors, ("energy", "forces", "virial"), atom_types=types)
    for name, values in found._asdict().items():
        close(values, expected[name], 1e-13)
        assert float(values.abs().min(0).values.max()) > 1e-6  # no component that vanishes everywhere


@pytest.mark.parametrize(
    ("method", "n_steps", "n_atoms", "n_edges", "worth"),
    [
        (NVE(), 1_000, 256, 20_000, False),
        (NVE(), 20_000, 256, 20_000, True),
        (NVE(), 1_000, 8_000, 600_000, True),
        (FIRE(), 5_000, 256, 0, False),
        (FIRE(), 20_000, 256, 0, True),
    ],
)
def test_auto_compiles_what_is_long_enough(
    method: NVE | FIRE, n_steps: int, n_atoms: int, n_edges: int, worth: bool
) -> None:
    stepping: Stepping = Stepping(method, shoal.BatchCalculator(lennard_jones()), Limits(), "auto", n_steps)
    loop = SimpleNamespace(n_atoms=n_atoms, neighbors=SimpleNamespace(n_edges=n_edges))
    assert stepping._is_worth_it(loop) is worth  # type: ignore[arg-type]


def test_rounds_of_an_input() -> None:
    argon = bulk("Ar", "fcc", a=5.4, cubic=True)
    assert n_rounds([argon] * 10, 16) == 3
    assert n_rounds(atoms_to_state([argon] * 10), 16) == 3
    assert n_rounds([argon], 100) == n_rounds("many.xyz", 1) == n_rounds(iter([argon] * 10), 1) == 1


def test_a_potential_whose_numbers_were_changed_is_compiled_anew() -> None:
    potential = lennard_jones()
    calculator = shoal.BatchCalculator(potential)
    stepping: Stepping = Stepping(NVE(), calculator, Limits(), True, 10)
    loop = SimpleNamespace(calculator=calculator, goal=None)
    before = stepping._key(loop)  # type: ignore[arg-type]
    assert before == stepping._key(loop)  # type: ignore[arg-type]
    potential.epsilon.mul_(2.0)
    assert before != stepping._key(loop)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("potential", "element"), [(POTENTIAL, "Ar"), (StillingerWeber(), "Si")], ids=["Lennard-Jones", "Stillinger-Weber"]
)
def test_steps_with_kernels_are_those_without(
    potential: Potential, element: str, without_kernels: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystals = [bulk(element, cubic=True), bulk(element)]
    options = {"temperature": 300.0, "seed": 1, "compile": False, "progress": False, "skin": 0.05}
    plain = shoal.simulate(crystals, potential, NVE(), 2.0, 25, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(ShortRangePotential, "has_kernels", KERNELS)
    assert potential.has_kernels == is_available()
    fast = shoal.simulate(crystals, potential, NVE(), 2.0, 25, **options)  # type: ignore[arg-type]
    assert fast.info.n_rebuilds > 1
    close(fast.state.positions, plain.state.positions, 1e-11)
