"""What holds for every cell filter: its forces are gradients, open directions are held, when it has converged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111
from scipy.spatial.transform import Rotation
from tests.moving import evaluator, systems_of
from tests.relaxation.relaxing import CASES, ase_path, batch, path, started

from shoal.errors import InputError
from shoal.io import atoms_to_state
from shoal.potentials import LennardJones
from shoal.relaxation import FILTERS, FIRE, FixedCell, Frechet, Optimizer, UnitCell, cell_filter
from shoal.relaxation.filters import CellFilter
from shoal.relaxation.state import Coordinates
from shoal.testing import close
from shoal.units import GPA

MOVING = [UnitCell, Frechet]
SMOOTH = LennardJones({"Ar": (0.0104, 3.4)}, cutoff=6.9)


def unit_steps(at: Coordinates, masks: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Coordinates to try: of some atoms, and those of the cell that may change."""
    yield from ((0, atom, axis) for atom in range(0, at.atoms.shape[0], 3) for axis in range(3))
    yield from ((1, s, 3 * i + j) for s in range(len(masks)) for i in range(3) for j in range(3) if masks[s, i, j])


@pytest.mark.parametrize("cell", MOVING)
@pytest.mark.parametrize("strain_mask", [None, (1, 1, 1, 0, 0, 1)])
def test_forces_are_the_negative_gradient_of_the_enthalpy(cell: type, strain_mask: object) -> None:
    """In every coordinate, after some steps, under pressure, open directions held; central differences."""
    names = ["triclinic crystal", "left-handed crystal under pressure", "pressed slab", "chain"]
    state, systems, _ = batch(names)
    evaluate = evaluator(SMOOTH, state)
    optimizer = FIRE(cell=cell(pressure=[0.3, -0.2, 0.05, 0.1], strain_mask=strain_mask), maxstep=0.6)
    now = path(optimizer, state, systems, evaluate, 6)[-1]
    of = optimizer.cell
    at, forces = of.coordinates(now, systems), of.forces(now, systems)
    masks = (now.strain_mask * (now.span.abs() > 1e-9)).numpy()
    h = 1e-4
    for kind, row, column in unit_steps(at, masks):
        values = []
        for sign in (1, -1):
            moved = [part.clone(memory_format=torch.contiguous_format) for part in at]
            moved[kind].flatten(1)[row, column] += sign * h
            values.append(of.enthalpy(optimizer.moved(now, Coordinates(*moved), systems, evaluate)).sum())
        expected = -(values[0] - values[1]) / (2 * h)
        got = forces[kind].flatten(1)[row, column]
        close(got, expected, 1e-6)


@pytest.mark.parametrize("cell", FILTERS.values())
def test_a_turned_system_goes_the_turned_way(cell: type) -> None:
    """Also slabs and chains whose open directions lie along no axis, whatever their open cell vectors."""
    turn = Rotation.from_rotvec([0.3, -0.7, 1.1]).as_matrix()
    names = list(CASES)
    state, systems, _ = batch(names)
    turned = state.replace(positions=state.positions @ torch.as_tensor(turn), cell=state.cell @ torch.as_tensor(turn))
    optimizer = FIRE(cell=cell())
    here, there = (path(optimizer, s, systems, evaluator(SMOOTH, s), 25)[-1] for s in (state, turned))
    close(there.positions, here.positions @ torch.as_tensor(turn), 1e-9, scale=1)
    close(there.cell, here.cell @ torch.as_tensor(turn), 1e-9, scale=1)


@pytest.mark.parametrize("cell", MOVING)
def test_open_rows_of_the_cell_stay_and_do_not_matter(cell: type) -> None:
    """A slab's third vector may be anything: perpendicular, inclined, none."""
    atoms = fcc111("Ar", (1, 1, 3), a=5.2, vacuum=6.0, periodic=False)
    atoms.rattle(0.1, seed=1)
    slabs: list[Atoms] = []
    for third in (atoms.cell.array[2], [3.0, 2.0, 15.0], [0.0, 0.0, 0.0]):
        slabs.append(atoms.copy())
        slabs[-1].cell[2] = third
    state = atoms_to_state(slabs)
    systems = systems_of(state)
    now = path(FIRE(cell=cell()), state, systems, evaluator(SMOOTH, state), 25)[-1]
    assert torch.equal(now.cell[:, 2], state.cell[:, 2])
    assert float((now.cell[0, :2] - state.cell[0, :2]).abs().max()) > 0.01
    for s in (1, 2):
        close(now.cell[s, :2], now.cell[0, :2], 1e-10, scale=1)
        close(now.positions[3 * s : 3 * s + 3], now.positions[:3], 1e-10, scale=1)


@pytest.mark.parametrize("cell", MOVING)
def test_what_is_masked_does_not_strain(cell: type) -> None:
    names = ["triclinic crystal", "left-handed crystal under pressure"]
    state, systems, evaluate = batch(names)
    now = path(FIRE(cell=cell(strain_mask=(1, 0, 1, 0, 1, 0))), state, systems, evaluate, 25)[-1]
    strain = torch.linalg.inv(state.cell) @ now.cell - torch.eye(3, dtype=torch.float64)
    still = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.bool)
    close(strain[:, still], np.zeros((2, 5)), 1e-13)
    assert float(strain[:, ~still].abs().min()) > 1e-5


@pytest.mark.parametrize("cell", MOVING)
def test_a_hydrostatic_strain_keeps_the_shape(cell: type) -> None:
    state, systems, evaluate = batch(["triclinic crystal", "slab"])
    now = path(FIRE(cell=cell(hydrostatic_strain=True)), state, systems, evaluate, 25)[-1]
    strain = torch.linalg.pinv(state.cell) @ now.cell
    stretch = strain[0, 0, 0]
    assert abs(float(stretch) - 1) > 1e-3
    close(now.cell[0], stretch * state.cell[0], 1e-10)
    close(now.cell[1, :2], strain[1, 0, 0] * state.cell[1, :2], 1e-10)


def test_constant_volume_keeps_the_volume() -> None:
    """Of a Frechet cell, whose coordinates add up to the logarithm of the volume, to rounding; of a slab its area."""
    state, systems, evaluate = batch(["triclinic crystal", "slab"])
    now = path(FIRE(cell=Frechet(constant_volume=True)), state, systems, evaluate, 25)[-1]
    close(torch.linalg.det(now.cell) / torch.linalg.det(state.cell), np.ones(2), 1e-12)
    assert float((now.cell - state.cell).abs().amax((1, 2)).min()) > 1e-3


@pytest.mark.parametrize("cell", FILTERS.values())
def test_convergence_is_ases_criterion(cell: type) -> None:
    """At every step of the way, for a limit of each system that it meets somewhere on it."""
    names = ["triclinic crystal", "slab", "cluster"]
    optimizer = FIRE(cell=cell())
    ways = [ase_path(optimizer, name, 50).fmax for name in names]
    limits = torch.tensor([sorted(way)[10] * 1.001 for way in ways], dtype=torch.float64)
    state, systems, evaluate = batch(names)
    for step, now in enumerate(path(optimizer, state, systems, evaluate, 50)):
        expected = [way[step] < float(limit) for way, limit in zip(ways, limits, strict=True)]
        assert optimizer.converged(now, systems, limits).tolist() == expected


@pytest.mark.parametrize("cell", MOVING)
def test_a_limit_of_the_stress_is_a_further_condition(cell: type) -> None:
    """The largest component, in GPa, of stress + pressure, among those that may change."""
    names = ["triclinic crystal", "left-handed crystal under pressure", "slab", "cluster"]
    state, systems, evaluate = batch(names)
    optimizer = FIRE(cell=cell(pressure=[0.0, 0.7, 0.0, 5.0]))
    now = started(optimizer, state, systems, evaluate)
    stress = -now.virial / torch.linalg.det(now.cell).abs()[:, None, None] / GPA
    stress[1] += 0.7 * torch.eye(3)
    largest = stress.abs().amax((1, 2))
    largest[2] = stress[2, :2, :2].abs().max()
    largest[3] = 0.0
    close(optimizer.largest_stress(now), largest, 1e-12)
    assert float(largest[:3].min()) > 1e-3
    assert optimizer.converged(now, systems, 1e9).all()
    assert optimizer.converged(now, systems, 1e9, largest * (1 + 1e-9)).all()
    below = largest * (1 - 1e-9)
    assert optimizer.converged(now, systems, 1e9, below).tolist() == [False, False, False, True]
    assert not optimizer.converged(now, systems, 1e-9, 1e9).any()
    masked = FIRE(cell=cell(strain_mask=(0, 0, 1, 0, 0, 0)))
    at = started(masked, state, systems, evaluate)
    close(
        masked.largest_stress(at)[:2], (-at.virial[:2, 2, 2] / torch.linalg.det(at.cell[:2]).abs() / GPA).abs(), 1e-12
    )


def test_of_a_fixed_cell_no_stress_is_asked() -> None:
    state, systems, evaluate = batch(["triclinic crystal"])
    optimizer = FIRE()
    now = started(optimizer, state, systems, evaluate)
    now = now.replace(virial=torch.full_like(now.virial, float("nan")))
    assert optimizer.converged(now, systems, 1e9, 0.0).tolist() == [True]
    assert not optimizer.moves_cell


@pytest.mark.parametrize("cell", FILTERS.values())
@pytest.mark.parametrize("what", ["positions", "cell", "energy", "forces", "virial"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_has_not_converged(cell: type, what: str, bad: float) -> None:
    state, systems, evaluate = batch(["cluster", "triclinic crystal", "slab"])
    optimizer = FIRE(cell=cell())
    now = started(optimizer, state, systems, evaluate)
    value = getattr(now, what).clone()
    value[systems.system_index == 1 if value.shape[0] == state.n_atoms else torch.tensor([False, True, False])] = bad
    expected = [True, cell is FixedCell and what == "virial", True]
    assert optimizer.converged(now.replace(**{what: value}), systems, 1e9, 1e9).tolist() == expected


def test_the_enthalpy_counts_the_pressure() -> None:
    """pV of systems that are periodic at all."""
    state, systems, evaluate = batch(["triclinic crystal", "cluster"])
    optimizer: Optimizer = FIRE(cell=UnitCell(pressure=2.0))
    now = started(optimizer, state, systems, evaluate)
    volume = float(torch.linalg.det(state.cell[0]).abs())
    close(optimizer.enthalpy(now) - now.energy, [2.0 * volume / 160.2176634, 0.0], 1e-12)


@pytest.mark.parametrize(("name", "kind"), FILTERS.items())
def test_filters_are_known_by_name(name: str | None, kind: type[CellFilter]) -> None:
    assert cell_filter(name) == kind()
    assert cell_filter(kind()) == kind()


@pytest.mark.parametrize("name", ["Frechet", "exp", "", 1, True, UnitCell])
def test_unknown_names_are_refused(name: object) -> None:
    with pytest.raises(InputError, match="'unit', 'frechet'"):
        cell_filter(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", MOVING)
@pytest.mark.parametrize(
    "mask", [(1, 1, 1), (1, 1, 1, 0, 0, 0.5), [[1, 1, 0], [0, 1, 0], [0, 0, 1]], (1, 1, 1, 0, 0, float("nan")), "xy"]
)
def test_masks_that_are_none_are_refused(cell: type, mask: object) -> None:
    with pytest.raises(InputError, match="strain_mask"):
        cell(strain_mask=mask)


@pytest.mark.parametrize("cell", MOVING)
def test_a_matrix_is_a_mask_too(cell: type) -> None:
    state, systems, evaluate = batch(["triclinic crystal"])
    both = [
        path(FIRE(cell=cell(strain_mask=mask)), state, systems, evaluate, 5)[-1].cell
        for mask in ((1, 0, 1, 0, 1, 0), np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]]))
    ]
    assert torch.equal(*both)


@pytest.mark.parametrize("cell", MOVING)
@pytest.mark.parametrize("pressure", ["much", [1.0], float("nan"), None, [0.0, float("inf")]])
def test_pressures_that_are_none_are_refused(cell: type, pressure: object) -> None:
    state, systems, evaluate = batch(["triclinic crystal", "slab"])
    with pytest.raises(InputError, match="pressure must be"):
        started(FIRE(cell=cell(pressure=pressure)), state, systems, evaluate)


def test_a_pressure_without_a_volume_is_refused() -> None:
    atoms = fcc111("Ar", (1, 1, 2), a=5.2, periodic=False)
    state = atoms_to_state([atoms])
    with pytest.raises(InputError, match=r"system 0: a pressure needs a volume"):
        started(FIRE(cell=Frechet(pressure=1.0)), state, systems_of(state), evaluator(SMOOTH, state))


def test_a_mask_across_open_directions_is_refused() -> None:
    state, systems, _ = batch(["triclinic crystal", "slab"])
    turn = torch.as_tensor(Rotation.from_rotvec([0.4, 0, 0]).as_matrix())
    turned = state.replace(cell=state.cell @ turn, positions=state.positions @ turn)
    with pytest.raises(InputError, match="system 1: its periodic directions do not lie along"):
        started(FIRE(cell=UnitCell(strain_mask=(1, 1, 0, 0, 0, 0))), turned, systems, evaluator(SMOOTH, turned))
