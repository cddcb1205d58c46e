"""What holds for every optimizer whatever ASE does: independence of systems, tracing, where it ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk
from tests.conftest import rattled
from tests.moving import evaluator, systems_of
from tests.relaxation.relaxing import ARGON, CASES, batch, path, started
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.motion import Evaluation, Systems
from shoal.potentials import LennardJones
from shoal.relaxation import FILTERS, FIRE, LBFGS, OPTIMIZERS, FixedCell, Frechet, Optimizer, UnitCell
from shoal.testing import close
from shoal.units import GPA

MOVING = [UnitCell, Frechet]


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_a_system_goes_the_way_it_goes_alone(method: type[Optimizer], cell: type) -> None:
    names = list(CASES)
    pressure = {} if cell is FixedCell else {"pressure": [CASES[name].pressure for name in names]}
    state, systems, evaluate = batch(names)
    together = path(method(cell=cell(**pressure)), state, systems, evaluate, 50)[-1]
    offsets = state.offsets.tolist()
    for s in (0, 3, 4):
        own = {} if cell is FixedCell else {"pressure": CASES[names[s]].pressure}
        alone = path(method(cell=cell(**own)), *batch([names[s]]), 50)[-1]
        close(together.positions[offsets[s] : offsets[s + 1]], alone.positions, 1e-10, scale=1)
        close(together.cell[s], alone.cell[0], 1e-10, scale=1)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_taken_out_and_joined_systems_go_on_as_before(method: type[Optimizer], cell: type) -> None:
    """All a method remembers lies in the rows of its state."""
    names = ["triclinic crystal", "slab", "cluster", "chain"]
    optimizer = method(cell=cell())
    state, systems, evaluate = batch(names)
    states = path(optimizer, state, systems, evaluate, 20)
    parts = []
    for s in (2, 0):
        atoms = torch.arange(int(state.offsets[s]), int(state.offsets[s + 1]))
        parts.append((states[12].take(atoms, torch.tensor([s])), systems.take(atoms, torch.tensor([s]))))
    joined, of = type(states[12]).join([p for p, _ in parts]), Systems.join([q for _, q in parts])
    evaluate = evaluator(ARGON, batch(["cluster", "triclinic crystal"])[0])
    for _ in range(8):
        joined = optimizer.step(joined, of, evaluate)
    close(joined.cell, states[20].cell[[2, 0]], 1e-10, scale=1)
    close(joined.positions, states[20].positions[torch.isin(systems.system_index, torch.tensor([2, 0]))][
        [*range(4, 10), *range(4)]
    ], 1e-10, scale=1)  # fmt: skip


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_a_system_of_nan_leaves_the_others_alone(method: type[Optimizer], cell: type) -> None:
    names = ["triclinic crystal", "cluster", "slab"]
    optimizer = method(cell=cell())
    state, systems, evaluate = batch(names)
    bad = systems.system_index == 1

    def failing(positions: torch.Tensor, to: torch.Tensor) -> Evaluation:
        at = evaluate(torch.where(bad[:, None], state.positions, positions), to)
        nan = torch.where(bad, float("nan"), 0.0)
        return Evaluation(at.energy + systems.sum(nan), at.forces + nan[:, None], at.virial)

    good, now = path(optimizer, state, systems, evaluate, 8)[-1], started(optimizer, state, systems, evaluate)
    for _ in range(8):
        now = optimizer.step(now, systems, failing)
    assert torch.equal(now.positions[~bad], good.positions[~bad])
    assert torch.equal(now.cell[[0, 2]], good.cell[[0, 2]])
    assert optimizer.converged(now, systems, 1e9, 1e9).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "optimizer",
    [
        *(FIRE(cell=cell()) for cell in FILTERS.values()),
        *(method(cell=Frechet()) for method in OPTIMIZERS if method is not FIRE),
        FIRE(cell=Frechet(strain_mask=(1, 1, 0, 0, 0, 1), pressure=0.3)),
    ],
    ids=str,
)
def test_a_traced_step_gives_the_same_numbers_for_any_sizes(optimizer: Optimizer) -> None:

    def springs(systems: Systems, anchors: torch.Tensor):
        """A potential that traces whatever the sizes: atoms on springs, a cell that wants to be a cube of 5 A."""

        def evaluate(positions: torch.Tensor, to: torch.Tensor) -> Evaluation:
            away = positions - anchors
            strain = to.transpose(1, 2) @ to / 25.0 - torch.eye(3, dtype=to.dtype)
            energy = systems.sum(away.square().sum(1)) + strain.square().sum((1, 2))
            outer = systems.sum(away[:, :, None] * positions[:, None, :])
            return Evaluation(energy, -2 * away, -(outer + outer.transpose(1, 2)) - strain)

        return evaluate

    def run(leaves: list[torch.Tensor], n: int, kind: type, anchors: torch.Tensor) -> list[torch.Tensor]:
        state, systems = kind(*leaves[:n]), Systems(*leaves[n:])
        return optimizer.step(state, systems, springs(systems, anchors)).leaves()

    def prepared(names: list[str]) -> tuple[list[torch.Tensor], int, type, torch.Tensor]:
        state, systems, _ = batch(names)
        anchors = torch.zeros_like(state.positions)
        now = path(optimizer, state, systems, springs(systems, anchors), 3)[-1]
        return [*now.leaves(), *systems.leaves()], len(now.leaves()), type(now), anchors

    first, second = (
        prepared(["triclinic crystal", "slab"]),
        prepared(["slab", "cluster", "left-handed crystal under pressure"]),
    )
    n, kind = first[1], first[2]
    graph = make_fx(lambda leaves, anchors: run(leaves, n, kind, anchors), tracing_mode="symbolic")(first[0], first[3])
    for leaves, *_, anchors in (first, second):
        for traced, eager in zip(graph(leaves, anchors), run(leaves, n, kind, anchors), strict=True):
            assert torch.equal(traced, eager)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_one_evaluation_a_step(method: type[Optimizer], cell: type) -> None:
    state, systems, evaluate = batch(["triclinic crystal", "chain"])
    optimizer = method(cell=cell())
    now = started(optimizer, state, systems, evaluate)
    calls = []

    def counted(positions: torch.Tensor, to: torch.Tensor) -> Evaluation:
        calls.append((positions, to))
        return evaluate(positions, to)

    new = optimizer.step(now, systems, counted)
    assert len(calls) == 1
    assert torch.equal(new.positions, calls[0][0])
    assert torch.equal(new.cell, calls[0][1])


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_no_two_tensors_of_a_state_are_one(method: type[Optimizer], cell: type) -> None:
    """A tracer takes inputs that are the same tensor for the same input, whatever they become."""
    state, systems, evaluate = batch(["triclinic crystal", "slab"])
    for now in path(method(cell=cell()), state, systems, evaluate, 2):
        memory = [leaf.untyped_storage().data_ptr() for leaf in now.leaves() if leaf.numel()]
        assert len(set(memory)) == len(memory)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", MOVING)
def test_argon_ends_at_its_lattice_constant(method: type[Optimizer], cell: type) -> None:
    """Truncated at 2.5 sigma and not shifted: a / sigma = 1.549603, E / epsilon = -8.099621 (lattice sums)."""
    argon = LennardJones({"Ar": (0.0104, 3.4)}, cutoff=2.5 * 3.4, truncation="none")
    atoms = rattled(bulk("Ar", cubic=True, a=5.3), 3, 0.05)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.random.default_rng(5).normal(0, 0.01, (3, 3))), scale_atoms=True)
    state = atoms_to_state([atoms])
    systems, evaluate = systems_of(state), evaluator(argon, state)
    optimizer = method(cell=cell())
    now = started(optimizer, state, systems, evaluate)
    n_steps = 0
    while not bool(optimizer.converged(now, systems, 1e-7, 1e-5)):
        now = optimizer.step(now, systems, evaluate)
        n_steps += 1
        assert n_steps < 500
    close(np.linalg.norm(now.cell[0], axis=1), np.full(3, 1.549603 * 3.4), 1e-6)
    close(now.energy / 4 / 0.0104, [-8.099621], 1e-6)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", MOVING)
def test_under_pressure_a_crystal_ends_at_that_pressure(method: type[Optimizer], cell: type) -> None:
    names = ["triclinic crystal", "crystal with fixed centre of mass"]
    argon = LennardJones({"Ar": (0.0104, 3.4)}, cutoff=6.9)
    state, systems, _ = batch(names)
    evaluate = evaluator(argon, state)
    optimizer = method(cell=cell(pressure=[1.0, 0.25]))
    now = path(optimizer, state, systems, evaluate, 150)[-1]
    assert bool(optimizer.converged(now, systems, 1e-4, 1e-3).all())
    stress = -now.virial / torch.linalg.det(now.cell).abs()[:, None, None] / GPA
    close(stress, -np.array([1.0, 0.25])[:, None, None] * np.eye(3), 1e-3)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_what_is_fixed_stays(method: type[Optimizer], cell: type) -> None:
    """Fixed atoms keep their fractional coordinates, a fixed centre of mass its own."""
    names = ["crystal with fixed atoms", "crystal with fixed centre of mass"]
    state, systems, evaluate = batch(names)
    now = path(method(cell=cell()), state, systems, evaluate, 30)[-1]
    before, after = (
        (frame.positions[:, None] @ torch.linalg.inv(frame.cell)[systems.system_index])[:, 0] for frame in (state, now)
    )
    close(after[systems.fixed], before[systems.fixed], 1e-13)
    masses = systems.masses[4:, None]
    close((masses * after[4:]).sum(0) / masses.sum(), (masses * before[4:]).sum(0) / masses.sum(), 1e-13)
    assert float((after - before)[~systems.fixed].abs().max()) > 1e-3


@pytest.mark.parametrize("method", OPTIMIZERS)
def test_nothing_to_do_is_no_division_by_zero(method: type[Optimizer]) -> None:
    """A single atom in a box and a system of fixed atoms have no forces from the first step on."""
    state, systems, evaluate = batch(["crystal with fixed atoms", "slab"])
    systems = systems.replace(fixed=systems.system_index == 0)
    states = path(method(), state, systems, evaluate, 6)
    assert all(bool(torch.isfinite(leaf).all()) for now in states for leaf in now.leaves())
    assert torch.equal(states[-1].positions[:4], state.positions[:4])
    assert bool(method().converged(states[-1], systems, 1e-12)[0])


@pytest.mark.parametrize("cell", MOVING)
def test_equal_keys_mean_equal_operations(cell: type) -> None:
    """What differs between them lies in the state, so that one compiled step serves all; a key can be looked up."""
    mask, other = [1, 1, 0, 0, 0, 1], np.ones((3, 3))
    same = [FIRE(cell=cell(pressure=p, strain_mask=m)) for p, m in ((0.0, mask), ([1.0, 2.0], other), (3.0, (0,) * 6))]
    assert len({optimizer.step_key for optimizer in same}) == 1
    state, systems, evaluate = batch(["triclinic crystal", "left-handed crystal under pressure"])
    own = path(same[1], state, systems, evaluate, 3)
    borrowed = same[0].step(own[-2], systems, evaluate)
    assert all(torch.equal(a, b) for a, b in zip(borrowed.leaves(), own[-1].leaves(), strict=True))
    others = [
        FIRE(cell=cell()),
        FIRE(cell=cell(constant_volume=True)),
        FIRE(maxstep=0.1),
        LBFGS(),
        LBFGS(memory=3),
        FIRE(),
    ]
    assert len({optimizer.step_key for optimizer in (*same, *others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("method", "parameters", "says"),
    [
        (FIRE, {"dt": 0.0}, "dt must be positive"),
        (FIRE, {"maxstep": float("nan")}, "maxstep must be positive"),
        (FIRE, {"f_dec": -0.5}, "f_dec must be positive"),
        (FIRE, {"n_min": -1}, "n_min"),
        (LBFGS, {"maxstep": 1.5}, "at most 1 A"),
        (LBFGS, {"memory": 0}, "memory must be positive"),
        (LBFGS, {"memory": 2.5}, "whole number"),
        (LBFGS, {"alpha": float("inf")}, "alpha must be positive"),
        (FIRE, {"cell": "frechet"}, "cell_filter"),
    ],
)
def test_bad_parameters_are_named(method: type[Optimizer], parameters: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        method(**parameters)
