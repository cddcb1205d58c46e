"""The operator of exported models takes what it can use and says what it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from tests.conftest import rattled

from shoal.deploy.native import native_kernel
from shoal.files.kernels import KernelFiles
from shoal.integrations.metatomic.operator import build_operator
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.state import SimState

Call = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def kernel(silicon: LearnedPotential) -> KernelFiles:
    return native_kernel(silicon, 128)


@pytest.fixture(scope="module")
def state() -> SimState:
    """Enough work for a second thread."""
    crystal = bulk("Si", "diamond", a=5.43, cubic=True)
    state = atoms_to_state([rattled(crystal * (3, 3, 3), 0), rattled(crystal, 1)])
    weights_of_an_edge, weights_of_a_thread = 64, 60_000  # as the kernel counts them
    assert neighbor_list(state, 4.0).n_edges * weights_of_an_edge >= 2 * weights_of_a_thread
    return state


@pytest.fixture(scope="module")
def call(kernel: KernelFiles, state: SimState, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The operator on that state; what is given replaces arguments by name."""
    operator = build_operator()
    file = tmp_path_factory.mktemp("operator") / operator.file
    file.write_bytes(operator.library)
    torch.ops.load_library(file)
    function = getattr(torch.ops, operator.namespace).atomic_energies
    neighbors = neighbor_list(state, 4.0)
    shuffled = torch.randperm(neighbors.n_edges, generator=torch.Generator().manual_seed(0))

    def called(**changed: object) -> torch.Tensor:
        arguments = {
            "positions": state.positions,
            "cell": state.cell,
            "edge_index": neighbors.edge_index[:, shuffled],
            "edge_cell_shift": neighbors.shifts[shuffled],
            "atom_types": torch.zeros(state.n_atoms, dtype=torch.int64),
            "system_index": state.system_index,
            "weights": kernel.weights,
            "libraries": [torch.frombuffer(bytearray(each), dtype=torch.uint8) for each in kernel.libraries.values()],
            "targets": list(kernel.libraries),
            "kernel": hashlib.sha256(kernel.source.encode()).hexdigest(),
        }
        return function(**{**arguments, **changed})

    return called


def test_weights_of_atoms_weight_the_gradient(call: Call, state: SimState) -> None:
    """Backward with any weights, and from two calls at once."""
    generator = torch.Generator().manual_seed(1)
    positions = state.positions.clone().requires_grad_(True)
    first, second = (torch.rand(state.n_atoms, generator=generator, dtype=torch.float64) for _ in range(2))
    atomic = call(positions=positions)
    apart = [torch.autograd.grad(atomic, positions, each, retain_graph=True)[0] for each in (first, second)]
    together = torch.autograd.grad((atomic * first).sum() + (call(positions=positions) * second).sum(), positions)[0]
    torch.testing.assert_close(together, apart[0] + apart[1], rtol=0, atol=1e-6)
    assert not torch.allclose(apart[0], apart[1])


def test_threads_change_nothing(call: Call, state: SimState, two_threads: None) -> None:
    def gradient() -> torch.Tensor:
        positions = state.positions.clone().requires_grad_(True)
        return torch.autograd.grad(call(positions=positions).sum(), positions)[0]

    on_two = gradient()
    torch.set_num_threads(1)
    torch.testing.assert_close(on_two, gradient(), rtol=0, atol=1e-6)


def test_it_runs_in_every_grad_mode(call: Call, state: SimState) -> None:
    positions, cell = state.positions.clone().requires_grad_(True), state.cell.clone().requires_grad_(True)
    plain = call(positions=positions)
    with torch.no_grad():
        without_graph = call(positions=positions)
    with torch.inference_mode():
        in_inference = call()
    assert [each.requires_grad for each in (plain, without_graph, in_inference)] == [True, False, False]
    assert torch.equal(plain, without_graph)
    assert torch.equal(plain, in_inference)
    (of_cell,) = torch.autograd.grad(call(cell=cell).sum(), [cell])
    both = torch.autograd.grad(call(positions=positions, cell=cell).sum(), [positions, cell])
    torch.testing.assert_close(of_cell, both[1], rtol=0, atol=1e-6)


def test_a_kernel_for_other_processors_is_refused(call: Call) -> None:
    with pytest.raises(RuntimeError, match="built for other processors: export it again"):
        call(targets=["riscv", "sparc", "vax"], kernel="foreign")


def test_a_damaged_kernel_is_refused(call: Call) -> None:
    noise = torch.arange(100, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="kernel does not load here"):
        call(libraries=[noise, noise, noise], kernel="damaged")


def test_bad_arguments_are_refused(call: Call, state: SimState, kernel: KernelFiles) -> None:
    with pytest.raises(ValueError, match="does not know an element"):
        call(atom_types=torch.full((state.n_atoms,), -1))
    far = torch.full((2, 1), state.n_atoms)
    for edges in (far, far.flip(0) * torch.tensor([[1], [0]])):
        with pytest.raises(ValueError, match="names atoms that are not in the systems"):
            call(edge_index=edges, edge_cell_shift=torch.zeros(1, 3, dtype=torch.int64))
    for changed in (
        {"positions": state.positions[:, :2]},
        {"cell": state.cell[:, :2]},
        {"edge_cell_shift": torch.zeros(1, 3, dtype=torch.int64)},
        {"atom_types": torch.zeros(3, dtype=torch.int64)},
        {"system_index": state.system_index[1:]},
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            call(**changed)
    with pytest.raises(ValueError, match="has one target"):
        call(targets=["plain"], kernel="fewer")
    with pytest.raises(ValueError, match="must be float64"):
        call(positions=state.positions.float())
    with pytest.raises(RuntimeError, match="do not belong together"):
        call(weights=kernel.weights[:-8])


def test_it_may_be_loaded_from_two_places(call: Call, tmp_path: Path) -> None:
    operator = build_operator()
    (tmp_path / operator.file).write_bytes(operator.library)
    torch.ops.load_library(tmp_path / operator.file)
    assert call().isfinite().all()
