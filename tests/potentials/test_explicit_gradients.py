"""Explicit gradients of every potential, per system and per atom, of all atoms and of some, in all kinds of cells."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from metatensor.torch import Labels, TensorBlock
from tests.potentials.test_potential_laws import CASES, Case, displaced, evaluate, rows, slopes, strained, structures

from shoal.contract import OutputRequest
from shoal.errors import InputError
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials import LearnedPotential, Potential, _atomic_gradients
from shoal.potentials._native import FilePotential
from shoal.state import SimState
from shoal.testing import close

KINDS = {
    "molecule": ["cluster"],
    "triclinic": ["skewed"],
    "slab": ["slab"],
    "mixed": ["one-atom cell", "cluster", "left-handed", "wire"],
}
BOTH = ("positions", "strain")


class Gradients(NamedTuple):
    """values (R,), positions (R, N, 3) with rows that were left out zero, strain (R, 3, 3)."""

    values: np.ndarray
    positions: np.ndarray
    strain: np.ndarray


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    made = CASES[request.param]
    potential = made.make()
    return Case(lambda: potential, made.crystal)


@pytest.fixture(scope="module")
def slopes_of(case: Case) -> Callable[[str], Gradients]:
    """Those of every atomic energy by central differences, for each kind of structures once."""
    return cache(lambda geometry: by_differences(case.make(), frames(case, geometry)))


def frames(case: Case, kind: str) -> list[Atoms]:
    every = structures(case.crystal)
    return [every[name] for name in KINDS[kind]]


def some_atoms(state: SimState) -> Labels:
    """About half of the atoms, not in their order and none of the second system."""
    system = state.system_index
    atom = torch.arange(state.n_atoms) - state.offsets[system]
    pairs = torch.stack([system, atom], 1)[(torch.arange(state.n_atoms) % 2 == 0) & (system != 1)]
    return Labels(["system", "atom"], pairs.flip(0).to(torch.int32))


def asked(potential: Potential, state: SimState, kind: str, selected: Labels | None = None) -> TensorBlock:
    request = OutputRequest(sample_kind=kind, explicit_gradients=BOTH)  # type: ignore[arg-type]
    return potential.outputs(state, {"energy": request}, selected_atoms=selected)["energy"].block()


def dense(block: TensorBlock, state: SimState) -> Gradients:
    """Scattered by the labels alone."""
    n = len(block.values)
    positions, strain = np.zeros((n, state.n_atoms, 3)), np.zeros((n, 3, 3))
    gradient = block.gradient("positions")
    for (sample, system, atom), value in zip(gradient.samples.values.tolist(), gradient.values.numpy(), strict=True):
        positions[sample, int(state.offsets[system]) + atom] += value[:, 0]
    for (sample,), value in zip(
        block.gradient("strain").samples.values.tolist(), block.gradient("strain").values.numpy(), strict=True
    ):
        strain[sample] += value[..., 0]
    return Gradients(block.values[:, 0].numpy(), positions, strain)


def by_differences(potential: Potential, parts: list[Atoms]) -> Gradients:
    """Of every atomic energy, each system by itself."""
    n = sum(map(len, parts))
    values, positions, strain = [], np.zeros((n, n, 3)), np.zeros((n, 3, 3))
    start = 0
    for atoms in parts:
        own = slice(start, start + len(atoms))
        values.append(evaluate(potential, atoms)["atomic_energy"].numpy())
        moved = rows(evaluate(potential, displaced(atoms))["atomic_energy"], len(atoms))
        positions[own, own] = slopes(moved).T.reshape(len(atoms), len(atoms), 3)
        strain[own] = slopes(rows(evaluate(potential, strained(atoms))["atomic_energy"], len(atoms))).T.reshape(
            -1, 3, 3
        )
        start += len(atoms)
    return Gradients(np.concatenate(values), positions, strain)


def by_autograd(potential: Potential, state: SimState, kind: str, selected: Labels | None) -> Gradients:
    """By a backward pass from each value to positions and strain."""
    positions = state.positions.clone().requires_grad_()
    strain = torch.zeros(state.n_systems, 3, 3, dtype=torch.float64, requires_grad=True)
    deformation = torch.eye(3, dtype=torch.float64) + strain
    deformed = state.replace(
        positions=torch.einsum("na,nab->nb", positions, deformation[state.system_index]),
        cell=state.cell @ deformation,
    )
    request = OutputRequest(sample_kind=kind)  # type: ignore[arg-type]
    block = potential.outputs(deformed, {"energy": request}, selected)["energy"].block()
    found = Gradients(block.values[:, 0].detach().numpy(), np.zeros((0, state.n_atoms, 3)), np.zeros((0, 3, 3)))
    for value, system in zip(block.values[:, 0], block.samples.column("system").tolist(), strict=True):
        moved, stretched = torch.autograd.grad(value, (positions, strain), retain_graph=True)
        found = found._replace(
            positions=np.concatenate([found.positions, moved.numpy()[None]]),
            strain=np.concatenate([found.strain, stretched.numpy()[system][None]]),
        )
    return found


def picked(atomic: Gradients, state: SimState, kind: str, selected: Labels | None) -> Gradients:
    """What a request must give, from the gradients of every atomic energy."""
    index = torch.arange(state.n_atoms)
    if selected is not None:
        index = state.offsets[selected.column("system").long()] + selected.column("atom").long()
    if kind == "atom":
        return Gradients(*(part[index.numpy()] for part in atomic))
    system = state.system_index[index].numpy()
    members = [index.numpy()[system == s] for s in range(state.n_systems)]
    return Gradients(*(np.stack([part[own].sum(0) for own in members]) for part in atomic))


@pytest.fixture(params=["receptive fields", "rounds"])
def strategy(request: pytest.FixtureRequest, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to gradients per atom, whichever would be taken."""
    if request.param == "rounds" and not case.make().capabilities.quantities["energy"].differentiable:
        pytest.skip("files have one way")
    monkeypatch.setattr(_atomic_gradients, "_rounds_are_cheaper", lambda *_: request.param == "rounds")


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("which", ["all", "selection"])
@pytest.mark.parametrize("kind", ["system", "atom"])
@pytest.mark.parametrize("geometry", KINDS)
def test_they_are_the_slopes_of_the_energy(
    case: Case, slopes_of: Callable[[str], Gradients], geometry: str, kind: str, which: str
) -> None:
    potential, state = case.make(), atoms_to_state(frames(case, geometry))
    selected = some_atoms(state) if which == "selection" else None
    got = dense(asked(potential, state, kind, selected), state)
    want = picked(slopes_of(geometry), state, kind, selected)
    close(got.values, want.values, 1e-12)
    close(got.positions, want.positions, 1e-6)
    close(got.strain, want.strain, 1e-6)


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("which", ["all", "selection"])
@pytest.mark.parametrize("kind", ["system", "atom"])
@pytest.mark.parametrize("geometry", KINDS)
def test_they_are_what_the_caller_gets_by_autograd(case: Case, geometry: str, kind: str, which: str) -> None:
    potential = case.make()
    if not potential.capabilities.quantities["energy"].differentiable:
        pytest.skip("a file's values carry no graph")
    state = atoms_to_state(frames(case, geometry))
    selected = some_atoms(state) if which == "selection" else None
    got = dense(asked(potential, state, kind, selected), state)
    want = by_autograd(potential, state, kind, selected)
    close(got.positions, want.positions, 1e-12)
    close(got.strain, want.strain, 1e-12)


def test_per_atom_rows_sum_to_the_system(case: Case) -> None:
    potential = case.make()
    state = atoms_to_state(frames(case, "mixed"))
    atoms, systems = (dense(asked(potential, state, kind), state) for kind in ("atom", "system"))
    for of_atoms, of_systems in zip(atoms, systems, strict=True):
        for s in range(state.n_systems):
            own = slice(int(state.offsets[s]), int(state.offsets[s + 1]))
            close(of_atoms[own].sum(0), of_systems[s], 1e-12)


def test_they_are_what_the_native_face_says(case: Case) -> None:
    potential = case.make()
    state = atoms_to_state(frames(case, "mixed"))
    native = potential(state, neighbor_list(state, potential.cutoff), ("energy", "forces", "virial"))
    block = asked(potential, state, "system")
    close(block.values[:, 0], native["energy"], 1e-13)
    close(block.gradient("positions").values[..., 0], -native["forces"], 0)
    close(block.gradient("strain").values[..., 0], -native["virial"], 0)


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("kind", ["system", "atom"])
def test_labels(case: Case, kind: str) -> None:
    potential = case.make()
    state = atoms_to_state(frames(case, "mixed"))
    selected = some_atoms(state)
    block = asked(potential, state, kind, selected)
    counts = state.n_atoms_per_system.tolist()
    if kind == "atom":
        assert block.samples.names == ["system", "atom"]
        assert torch.equal(block.samples.values, selected.values)
    else:
        assert block.samples.names == ["system"]
        assert block.samples.values[:, 0].tolist() == list(range(state.n_systems))
        assert float(block.values[1, 0]) == 0
    assert (block.components, block.properties.names) == ([], ["energy"])
    assert block.properties.values.tolist() == [[0]]
    assert block.gradients_list() == ["positions", "strain"]
    positions, strain = block.gradient("positions"), block.gradient("strain")
    for gradient, names in ((positions, ["xyz"]), (strain, ["xyz_1", "xyz_2"])):
        assert [axis.names for axis in gradient.components] == [[name] for name in names]
        assert all(axis.values[:, 0].tolist() == [0, 1, 2] for axis in gradient.components)
        assert gradient.properties == block.properties
        assert (gradient.values.dtype, gradient.values.device) == (block.values.dtype, block.values.device)
    assert positions.samples.names == ["sample", "system", "atom"]
    assert strain.samples.values[:, 0].tolist() == list(range(len(block.values)))
    found = [tuple(row) for row in positions.samples.values.tolist()]
    assert found == sorted(set(found))
    systems = block.samples.column("system").tolist()
    assert all(systems[sample] == system for sample, system, _ in found)
    if kind == "system":
        assert found == [(s, s, atom) for s in range(state.n_systems) for atom in range(counts[s])]


@pytest.mark.parametrize("kind", ["system", "atom"])
def test_nothing_is_valid(case: Case, kind: str) -> None:
    potential = case.make()
    nobody = Labels(["system", "atom"], torch.zeros(0, 2, dtype=torch.int32))
    some = atoms_to_state([case.crystal, Atoms()])
    for state, selected in ((atoms_to_state([]), None), (atoms_to_state([Atoms()]), None), (some, nobody)):
        block = asked(potential, state, kind, selected)
        n = state.n_systems if kind == "system" else 0
        moved = state.n_atoms if kind == "system" else 0
        assert tuple(block.values.shape) == (n, 1)
        assert tuple(block.gradient("positions").values.shape) == (moved, 3, 1)
        assert tuple(block.gradient("strain").values.shape) == (n, 3, 3, 1)
        assert block.samples.names == ["system", "atom"][: 1 if kind == "system" else 2]
        assert block.gradient("positions").samples.names == ["sample", "system", "atom"]
        for values in (block.values, block.gradient("positions").values, block.gradient("strain").values):
            assert not values.any()


def test_atoms_that_are_not_there_are_refused(case: Case) -> None:
    state = atoms_to_state([case.crystal, case.crystal[:1]])
    for wrong in ([0, len(case.crystal)], [1, 1], [2, 0], [0, -1], [-1, 0]):
        with pytest.raises(InputError, match="the state has 2 systems"):
            asked(case.make(), state, "atom", Labels(["system", "atom"], torch.tensor([wrong], dtype=torch.int32)))
    with pytest.raises(InputError, match="expected are"):
        asked(case.make(), state, "atom", Labels(["atom", "system"], torch.tensor([[0, 0]], dtype=torch.int32)))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["system", "atom"])
def test_on_a_gpu_they_are_those_of_the_cpu(case: Case, kind: str) -> None:
    potential, state = case.make(), atoms_to_state(frames(case, "mixed"))
    if not isinstance(potential, FilePotential):
        selected = some_atoms(state)
        here = asked(potential, state, kind, selected)
        there = asked(deepcopy(potential).cuda(), state.to("cuda"), kind, selected.to("cuda"))
        assert there.values.device.type == there.samples.values.device.type == "cuda"
        for mine, its in ((there, here), *((there.gradient(g), here.gradient(g)) for g in BOTH)):
            close(mine.values, its.values, 1e-10)
            assert mine.samples.to("cpu") == its.samples


@pytest.mark.parametrize(("layers", "rounds"), [(1, False), (2, False), (3, True)])
def test_gradients_of_all_atoms_cost_no_more_than_a_backward_pass_each(
    layers: int, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in edges, one that is evaluated as two that are differentiated, and a call as a thousand of these."""
    config = {"cutoff": 4.0, "type_names": ["Si"], "mean_neighbors": 16.0, "num_layers": layers, "l_max": 0}
    spec = ArchitectureSpec(name="nequip", config={**config, "num_features": 4, "radial_mlp_width": 4})
    potential = LearnedPotential(spec, species_map={"Si": "Si"})
    state = atoms_to_state([bulk("Si", cubic=True) * (2, 2, 2), bulk("Si", cubic=True)])
    neighbors = neighbor_list(state, potential.cutoff)
    evaluated: list[int] = []
    in_turns: list[int] = []
    whole, plain = LearnedPotential.energy_derivatives, LearnedPotential.energies

    def energy_derivatives(self: LearnedPotential, s: SimState, n: NeighborList, *rest: Any, **more: Any) -> Any:
        evaluated.append(n.n_edges)
        return whole(self, s, n, *rest, **more)

    def energies(self: LearnedPotential, s: SimState, n: NeighborList, *rest: Any) -> torch.Tensor:
        in_turns.append(n.n_edges)
        return plain(self, s, n, *rest)

    monkeypatch.setattr(LearnedPotential, "energy_derivatives", energy_derivatives)
    monkeypatch.setattr(LearnedPotential, "energies", energies)
    request = OutputRequest(sample_kind="atom", explicit_gradients=BOTH)
    potential.outputs(state, {"energy": request}, None, neighbors)
    values, *gradients = in_turns
    assert values == neighbors.n_edges
    if rounds:
        assert (gradients, evaluated) == ([neighbors.n_edges], [])  # and one backward pass for an atom of every system
    else:
        assert gradients == []
        assert 2 * sum(evaluated) + 1000 * len(evaluated) <= 64 * (neighbors.n_edges + 1000)
        assert max(evaluated) <= 2**13 + neighbors.n_edges
