"""Every method's compiled step is its eager step: with pair potentials as one graph, with others in two halves."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from tests.engine.runs import lennard_jones

import shoal
from shoal.dynamics import INTEGRATORS, NVE, CellRescaling, Integrator, Langevin
from shoal.engine import DynamicsSnapshot, RelaxationSnapshot
from shoal.engine.loop import Loop
from shoal.potentials import Potential, StillingerWeber
from shoal.relaxation import FILTERS, FIRE, LBFGS, OPTIMIZERS, FixedCell, Frechet, Optimizer, UnitCell

PAIRS, ANY = "pairs", "any potential"
METHODS: list[Integrator | Optimizer] = [
    *(integrator() for integrator in INTEGRATORS),
    CellRescaling(cell="flexible"),
    *(optimizer(cell=of()) for optimizer in OPTIMIZERS for of in FILTERS.values()),  # type: ignore[call-arg]
    FIRE(cell=Frechet(strain_mask=(1, 1, 0, 0, 0, 1), hydrostatic_strain=True)),
    FIRE(cell=UnitCell(constant_volume=True)),
]
# compiling takes ten seconds and more: these two, and what test_compiled_step runs, stand for the others
FAST = [(NVE(), ANY), (FIRE(cell=FixedCell()), ANY)]


def cases() -> list[Any]:
    made = []
    for method in METHODS:
        for kind in (PAIRS, ANY):
            if kind == PAIRS and isinstance(method, NVE | Langevin):
                continue  # in test_compiled_step
            variant = method.cell if isinstance(method, Optimizer) else getattr(method, "cell", "")
            marks = [] if (method, kind) in FAST else [pytest.mark.slow]
            made.append(pytest.param(method, kind, id=f"{type(method).__name__} {variant} {kind}", marks=marks))
    return made


def crystals(kind: str, n: int) -> list[Atoms]:
    """Of 2 to 8 atoms, strained and rattled."""
    made = []
    for k in range(n):
        rng = np.random.default_rng(k)
        atoms = (
            bulk("Ar", "fcc", a=5.3) * (1, 1, k + 2) if kind == PAIRS else bulk("Si", "diamond", a=5.4) * (1, 1, k + 1)
        )
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.01, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        made.append(atoms)
    return made


@pytest.fixture
def largest_differences(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """By field, of every compiled step to the eager step from the same frame, relative to the largest value."""
    largest: dict[str, float] = {}
    advance = Loop._advance

    def both(loop: Loop[Any]) -> Any:
        compiled, *told = advance(loop)
        step, loop._compiled = loop._compiled, None
        assert step is not None
        eager, *expected = advance(loop)
        loop._compiled = step
        for a, b in zip(told, expected, strict=True):
            assert torch.equal(a, b)
        for f in fields(eager):
            a, b = getattr(compiled, f.name), getattr(eager, f.name)
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            scale = max(1.0, float(b.abs().nan_to_num(0).max()))
            difference = torch.where(a.isnan() & b.isnan(), 0, a - b).abs().max()
            largest[f.name] = max(largest.get(f.name, 0.0), float(difference) / scale)
        return compiled, *told

    monkeypatch.setattr(Loop, "_advance", both)
    return largest


@pytest.mark.parametrize(("method", "kind"), cases())
def test_a_compiled_step_is_the_eager_step(
    method: Integrator | Optimizer, kind: str, largest_differences: dict[str, float]
) -> None:
    potential: Potential = lennard_jones() if kind == PAIRS else StillingerWeber()

    def stop_one(snapshot: DynamicsSnapshot | RelaxationSnapshot) -> None:
        if snapshot.n_steps == 5 and len(snapshot.system_id) > 1:
            snapshot.stop([1])

    for n in (4, 1):
        options: dict[str, Any] = {"compile": True, "progress": False, "on_step": stop_one}
        if isinstance(method, Integrator):
            results = shoal.simulate(crystals(kind, n), potential, method, n_steps=20, seed=3, **options)
        else:
            results = shoal.relax(crystals(kind, n), potential, method, fmax=1e-6, max_steps=20, **options)
        assert results.info.compiled
        brief = isinstance(method, LBFGS) and n == 1  # two atoms alone are at rest before
        assert results.n_steps.max() == 20 or (brief and results.n_steps.max() > 5)
    assert {name: size for name, size in largest_differences.items() if not size < 1e-13} == {}
