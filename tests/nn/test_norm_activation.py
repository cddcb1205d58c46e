"""The norm activation is e3nn's, and every derivative that training needs is finite, at zero too."""

from typing import Any

import pytest
import torch
from e3nn.nn import NormActivation as E3nnNormActivation

from shoal.nn import NONLINEARITIES, SCALAR, Channels, Features, Irrep, NormActivation
from shoal.testing import close

OUTPUTS: Channels = {SCALAR: 5, Irrep(0, -1): 2, Irrep(1, 1): 3, Irrep(1, -1): 4, Irrep(2, 1): 2}
N_ATOMS = 7


def features(channels: Channels) -> Features:
    source = torch.Generator().manual_seed(4)
    return {
        ir: torch.randn(N_ATOMS, ir.dim, count, generator=source, dtype=torch.float64) for ir, count in channels.items()
    }


def test_equal_e3nn(in_float64: Any) -> None:
    ours, x = NormActivation(OUTPUTS), features(OUTPUTS)
    for irrep in x:
        x[irrep][0] = 0
        x[irrep][1] *= 1e-9
    irreps = "+".join(f"{count}x{irrep}" for irrep, count in OUTPUTS.items())
    with in_float64():
        theirs = E3nnNormActivation(irreps, torch.nn.functional.silu, normalize=True, epsilon=1e-8, bias=False)
    expected = theirs(torch.cat([values.mT.flatten(1) for values in x.values()], dim=1))
    out = ours(x)
    assert list(out) == list(OUTPUTS)
    close(torch.cat([values.mT.flatten(1) for values in out.values()], dim=1), expected, 1e-14)


def test_norms_pass_through_silu() -> None:
    x = features(OUTPUTS)
    for irrep, values in NormActivation(OUTPUTS)(x).items():
        norm = x[irrep].norm(dim=1)
        close(values.norm(dim=1), torch.nn.functional.silu(norm), 1e-14)


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-8, 1e-6])
def test_first_and_second_derivatives_are_finite_near_zero(name: str, dtype: torch.dtype, size: float) -> None:
    nonlinearity = NONLINEARITIES[name](OUTPUTS)
    x = {
        ir: (size * values / values.norm(dim=1, keepdim=True)).to(dtype).requires_grad_()
        for ir, values in features(nonlinearity.inputs).items()
    }
    total = sum(values.square().sum() + values.sum() for values in nonlinearity(x).values())
    first = torch.autograd.grad(total, list(x.values()), create_graph=True)
    second = torch.autograd.grad(sum(values.sum() for values in first), list(x.values()))
    assert all(values.isfinite().all() and values.abs().max() < 100 for values in (*first, *second))
    assert any((values != 0).any() for values in first)


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_differentiable_twice(name: str) -> None:
    channels: Channels = {SCALAR: 2, Irrep(0, -1): 1, Irrep(1, -1): 1}
    nonlinearity = NONLINEARITIES[name](channels)
    x = [values[:2].requires_grad_() for values in features(nonlinearity.inputs).values()]

    def function(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(nonlinearity(dict(zip(nonlinearity.inputs, values, strict=True))).values())

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_zero_goes_to_zero(name: str) -> None:
    """Atoms without neighbours have exactly their shift."""
    nonlinearity = NONLINEARITIES[name](OUTPUTS)
    zeros = {ir: torch.zeros(2, ir.dim, count) for ir, count in nonlinearity.inputs.items()}
    assert all(torch.equal(values, torch.zeros_like(values)) for values in nonlinearity(zeros).values())
