"""Every optimizer with every cell filter takes ASE's steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.relaxation.relaxing import CASES, ase_path, batch, path

from shoal.relaxation import FILTERS, FIRE, LBFGS, OPTIMIZERS, FixedCell, Frechet, Optimizer, UnitCell
from shoal.testing import close

N_STEPS = 50
OPEN = [name for name in CASES if not CASES[name].atoms().pbc.all()]
CLOSED = [name for name in CASES if name not in OPEN]


def follows_ase(optimizer: Optimizer, names: Sequence[str], n_steps: int = N_STEPS) -> None:
    """Positions and cell to 1e-8 A, enthalpy and largest force to 1e-8, at every step, all systems in one batch.

    Up to where ASE's run has ended with forces of rounding, of which L-BFGS makes steps of chance.
    """
    state, systems, evaluate = batch(names)
    expected = [ase_path(optimizer, name, n_steps) for name in names]
    offsets = state.offsets.tolist()
    for step, now in enumerate(path(optimizer, state, systems, evaluate, n_steps)):
        fmax, enthalpy = optimizer.largest_force(now, systems), optimizer.enthalpy(now)
        for s, ase in enumerate(expected):
            if step >= len(ase.fmax):
                continue
            close(now.positions[offsets[s] : offsets[s + 1]], ase.positions[step], 1e-8, scale=1)
            close(now.cell[s], ase.cells[step], 1e-8, scale=1)
            close(fmax[s], ase.fmax[step], 1e-8)
            close(enthalpy[s], ase.enthalpies[step], 1e-8)


def pressures(names: Sequence[str]) -> list[float]:
    return [CASES[name].pressure for name in names]


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
def test_every_structure_in_one_batch(method: type[Optimizer], cell: type) -> None:
    names = list(CASES)
    of = cell() if cell is FixedCell else cell(pressure=pressures(names))
    follows_ase(method(cell=of), names)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", FILTERS.values())
@pytest.mark.parametrize("name", ["cluster", "triclinic crystal", "slab"])
def test_alone(method: type[Optimizer], cell: type, name: str) -> None:
    follows_ase(method(cell=cell()), [name])


@pytest.mark.parametrize("cell", [UnitCell, Frechet])
@pytest.mark.parametrize(
    "options",
    [
        {"strain_mask": (1, 1, 0, 0, 0, 1)},
        {"strain_mask": (0, 0, 1, 1, 0, 0)},
        {"hydrostatic_strain": True},
        {"constant_volume": True},
        {"constant_volume": True, "strain_mask": (1, 1, 1, 0, 0, 0)},
        {"hydrostatic_strain": True, "strain_mask": (1, 1, 1, 0, 0, 1)},
    ],
    ids=str,
)
def test_options_of_the_filter(cell: type, options: dict) -> None:
    names = ["triclinic crystal", "left-handed crystal under pressure"]
    follows_ase(FIRE(cell=cell(pressure=pressures(names), **options)), names, 20)


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("cell", [UnitCell, Frechet])
def test_a_mask_beside_open_directions(method: type[Optimizer], cell: type) -> None:
    names = ["slab", "chain", "cluster", "triclinic crystal"]
    follows_ase(method(cell=cell(strain_mask=(1, 0, 1, 1, 0, 0))), names, 20)


@pytest.mark.parametrize(
    "optimizer",
    [FIRE(dt=0.3, maxstep=0.05), LBFGS(memory=4), LBFGS(damping=0.7, alpha=20.0), LBFGS(maxstep=0.03)],
    ids=str,
)
def test_options_of_the_optimizer(optimizer: Optimizer) -> None:
    follows_ase(optimizer.on(UnitCell()), ["triclinic crystal", "slab"], 30)
