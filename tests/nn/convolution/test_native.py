"""The native convolution is the reference: values, first and second derivatives, on any threads."""

import importlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from shoal.errors import CompileError, InputError
from shoal.nn import CONVOLUTIONS, SCALAR, Channels, Convolution, Edges, Features, Irrep, spherical_harmonics
from shoal.nn.convolution import build_kernels
from shoal.testing import close

N_CENTRES, N_SOURCES, N_BASES = 4, 3, 5
CASES: dict[str, tuple[Channels, int]] = {
    "scalars": ({SCALAR: 5}, 2),
    "both parities": ({Irrep(0, 1): 3, Irrep(0, -1): 17, Irrep(1, 1): 5, Irrep(1, -1): 16}, 1),
    "a vector of channels": ({Irrep(l, (-1) ** l): 16 for l in range(3)}, 2),
    "an irrep no path takes": ({Irrep(0, 1): 4, Irrep(2, -1): 4}, 1),
}
EVERY = pytest.mark.parametrize("case", CASES)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pair(case: str, dtype: torch.dtype = torch.float64) -> tuple[Convolution, Convolution]:
    """Reference and native with the same weights."""
    inputs, l_max = CASES[case]
    targets = {irrep: 2 for irrep in inputs if irrep != Irrep(2, -1)}
    made = [
        CONVOLUTIONS[name](inputs, targets, l_max, [N_BASES, 6], dtype, torch.Generator().manual_seed(1))
        for name in ("reference", "native")
    ]
    return made[0], made[1]


class Inputs:
    """What enters a convolution, to be differentiated in: features, radial basis, edge vectors."""

    def __init__(self, case: str, n_edges: int, dtype: torch.dtype = torch.float64) -> None:
        inputs, self.l_max = CASES[case]
        source = torch.Generator().manual_seed(2)
        self.irreps = list(inputs)

        def numbers(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, dtype=torch.float64).to(dtype)

        self.centre = torch.randint(0, N_CENTRES, (n_edges,), generator=source)
        self.source = torch.randint(0, N_SOURCES, (n_edges,), generator=source)
        features = [numbers(N_SOURCES, irrep.dim, count) for irrep, count in inputs.items()]
        self.tensors = [*features, numbers(n_edges, N_BASES), numbers(n_edges, 3)]
        for tensor in self.tensors:
            tensor.requires_grad_()

    def into(self, convolution: Convolution) -> Features:
        *features, radial, vectors = self.tensors
        harmonics = spherical_harmonics(torch.nn.functional.normalize(vectors, dim=1), self.l_max)
        edges = Edges(self.centre, self.source, radial, harmonics, N_CENTRES)
        return convolution(dict(zip(self.irreps, features, strict=True)), edges)

    def derivatives(self, convolution: Convolution) -> list[Tensor]:
        """Values, gradients in inputs and weights, and gradients of the square of those in the inputs."""
        values = list(self.into(convolution).values())
        bent = sum(value.square().sum() for value in values)
        inner = torch.autograd.grad(bent, self.tensors, create_graph=True, allow_unused=True, materialize_grads=True)
        outer = sum(g.square().sum() for g in inner)
        weights = [*self.tensors, *convolution.parameters()]
        seconds = torch.autograd.grad(outer, weights, allow_unused=True, materialize_grads=True)
        return [*values, *inner, *seconds]


@EVERY
@pytest.mark.parametrize("n_edges", [0, 1, 30, 600])
def test_values_and_two_derivatives_are_the_references(case: str, n_edges: int) -> None:
    """600 edges are more than one task for every row."""
    reference, native = pair(case)
    inputs = Inputs(case, n_edges)
    for a, b in zip(inputs.derivatives(native), inputs.derivatives(reference), strict=True):
        close(a, b, 1e-12)


@EVERY
def test_single_precision_is_as_good_as_the_references(case: str) -> None:
    exact, _ = pair(case)
    reference, native = pair(case, torch.float32)
    exact.load_state_dict(reference.state_dict())
    truth = Inputs(case, 100, torch.float32)
    truth.tensors = [tensor.detach().double().requires_grad_() for tensor in truth.tensors]
    inputs = Inputs(case, 100, torch.float32)
    for a, b in zip(inputs.derivatives(native), truth.derivatives(exact), strict=True):
        close(a.double(), b, 2e-5)


def test_results_do_not_depend_on_threads_or_repetition() -> None:
    inputs = Inputs("a vector of channels", 600)
    _, native = pair("a vector of channels")
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        found.append(inputs.derivatives(native))
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(two, again)
        close(one, two, 1e-13)  # torch's own sums follow the threads


def test_sums_are_bit_for_bit_the_same_on_any_threads() -> None:
    inputs, (_, native) = Inputs("both parities", 600), pair("both parities")
    with torch.no_grad():
        torch.set_num_threads(1)
        one = inputs.into(native)
        torch.set_num_threads(2)
        two = inputs.into(native)
    for irrep, values in one.items():
        assert torch.equal(values, two[irrep])


def test_third_derivatives_are_refused() -> None:
    inputs, (_, native) = Inputs("scalars", 5), pair("scalars")
    total = sum((value**4).sum() for value in inputs.into(native).values())
    for _ in range(2):
        (gradient,) = torch.autograd.grad(total, inputs.tensors[0], create_graph=True)
        total = (gradient**3).sum()
    with pytest.raises(NotImplementedError, match="first and second derivatives"):
        total.backward()


def kernel_calls(native: Convolution, inputs: Inputs) -> dict[str, Callable[..., object]]:
    """Every kernel by itself, on zeros or on what is given for them by name."""
    plan, ops = native.plan, torch.ops.shoal
    sizes = {"x": (N_SOURCES, plan.x.size), "radial": (5, plan.n_weights), "harmonics": (5, plan.n_harmonics)}
    zeros = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in sizes.items()}
    g = torch.zeros(N_CENTRES, plan.sums.size, dtype=torch.float64)
    edges = inputs.centre, inputs.source

    def given(other: dict[str, Tensor]) -> list[Tensor]:
        return [{**zeros, **other}[name] for name in zeros]

    return {
        "convolve": lambda **other: ops.convolve(native.kernel, *given(other), *edges, N_CENTRES),
        "convolve_tangent": lambda **other: ops.convolve_tangent(
            native.kernel, *given(other), *zeros.values(), *edges, N_CENTRES
        ),
        "convolve_backward": lambda **other: ops.convolve_backward(native.kernel, g, *given(other), *edges, True),
        "convolve_backward_tangent": lambda **other: ops.convolve_backward_tangent(
            native.kernel, g, *given(other), *zeros.values(), *edges, True
        ),
    }


@pytest.mark.parametrize("side", ["centre", "source"])
@pytest.mark.parametrize("beyond", [0, 10**9, -(10**9)])
def test_an_index_beyond_the_rows_is_an_error_in_every_kernel(side: str, beyond: int) -> None:
    """Whichever side a kernel groups its edges by."""
    inputs, (_, native) = Inputs("scalars", 5), pair("scalars")
    calls = kernel_calls(native, inputs)
    for call in calls.values():
        call()
    getattr(inputs, side)[3] = {"centre": N_CENTRES, "source": N_SOURCES}[side] + beyond
    for call in calls.values():
        with pytest.raises(InputError, match=r"row that is not there: centres must lie in 0\.\.3, sources in 0\.\.2"):
            call()


@pytest.mark.parametrize("name", ["x", "radial", "harmonics"])
def test_tensors_of_another_form_never_reach_a_kernel(name: str) -> None:
    inputs, (_, native) = Inputs("scalars", 5), pair("scalars")
    for call in kernel_calls(native, inputs).values():
        for wrong in (torch.zeros(5, 1, dtype=torch.float64), torch.zeros(5, 99), torch.zeros(2)):
            with pytest.raises(InputError, match=f"{name} of a convolution must be torch.float64"):
                call(**{name: wrong})


def test_without_a_compiler_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise CompileError("no C++ compiler was found")

    monkeypatch.setattr(importlib.import_module("shoal.native.build"), "compiler", none)
    inputs = {SCALAR: 7}
    native = CONVOLUTIONS["native"](inputs, inputs, 1, [N_BASES], torch.float64, torch.Generator())
    with pytest.raises(CompileError, match="no C"):
        build_kernels(native)
