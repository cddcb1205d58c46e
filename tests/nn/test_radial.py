"""Radial basis: the published formulas, smoothness at the cutoff, exact zero beyond it."""

from math import pi, sqrt

import numpy as np
import pytest
import torch
from scipy.special import erf

from shoal.nn import BesselBasis, ScalarMLP, polynomial_envelope
from shoal.testing import close

CUTOFF = 4.5


def published_envelope(x: np.ndarray, p: int) -> np.ndarray:
    """Equation 8 of arXiv:2003.03123 as printed."""
    inner = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return inner * (x < 1)


@pytest.mark.parametrize("p", [2, 3, 5, 6, 9])
def test_envelope_is_the_published_one(p: int) -> None:
    x = torch.linspace(0, 1.5, 301, dtype=torch.float64)
    close(polynomial_envelope(x, p), published_envelope(x.numpy(), p), 1e-12)


@pytest.mark.parametrize("p", [2, 6])
def test_envelope_has_two_continuous_derivatives_at_the_cutoff(p: int) -> None:
    """Near x = 1 it falls as (1 - x)^3, so value, slope and curvature reach zero."""
    h = torch.tensor([1e-3, 1e-4], dtype=torch.float64)
    x = (1 - h).requires_grad_()
    value = polynomial_envelope(x, p)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    for values, power in ((value, 3), (slope, 2), (curvature, 1)):
        assert abs(values[0] / values[1]).item() == pytest.approx(10**power, rel=0.05)


def test_envelope_and_its_derivatives_vanish_exactly_beyond() -> None:
    x = torch.tensor([1.0, 1.0 + 1e-15, 1.2, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    value = polynomial_envelope(x, 6)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    for values in (value, slope, curvature):
        assert torch.equal(values, torch.zeros_like(values))


def test_envelope_keeps_relative_accuracy_near_the_cutoff() -> None:
    """The printed polynomial cancels there; float32 still has its digits in the factored form."""
    h = 1e-3
    exact = polynomial_envelope(torch.tensor(1 - h, dtype=torch.float64), 6).item()
    x = torch.tensor(1 - h, dtype=torch.float32)
    exact_there = polynomial_envelope(x.double(), 6).item()
    assert exact == pytest.approx(28 * 2 * h**3, rel=1e-2)
    assert polynomial_envelope(x, 6).item() == pytest.approx(exact_there, rel=1e-5)


@pytest.mark.parametrize("trainable", [False, True])
def test_bessel_functions(trainable: bool) -> None:
    r = np.linspace(0.3, 5, 40)
    basis = BesselBasis(CUTOFF, 8, 6, trainable)
    orders = np.arange(1, 9)
    expected = 2 / CUTOFF * np.sin(orders * pi * r[:, None] / CUTOFF) / r[:, None]
    expected *= published_envelope(r / CUTOFF, 6)[:, None]
    close(basis(torch.from_numpy(r / CUTOFF)), expected, 1e-12)
    assert [name for name, _ in basis.named_parameters()] == (["orders"] if trainable else [])


def test_bessel_functions_are_orthonormal_without_envelope() -> None:
    """The integral of r^2 B_n B_m from 0 to r_c is 2/r_c for n = m, else 0: the paper's basis times sqrt(2/r_c)."""
    n = 4000
    r = (np.arange(n) + 0.5) * CUTOFF / n
    envelope = published_envelope(r / CUTOFF, 6)[:, None]
    values = BesselBasis(CUTOFF, 6, 6, False)(torch.from_numpy(r / CUTOFF)).numpy() / envelope
    overlap = (values * r[:, None] ** 2).T @ values * CUTOFF / n
    close(overlap, 2 / CUTOFF * np.eye(6), 1e-5)


def test_trainable_orders_receive_gradients() -> None:
    basis = BesselBasis(CUTOFF, 4, 6, True)
    basis(torch.tensor([0.25, 0.5], dtype=torch.float64)).sum().backward()
    assert basis.orders.grad is not None
    assert (basis.orders.grad != 0).all()


@pytest.mark.parametrize("sizes", [[8, 1], [8, 16, 5], [6, 16, 12, 5]])
def test_network_layers(sizes: list[int]) -> None:
    network = ScalarMLP(sizes, torch.float64, torch.Generator().manual_seed(1))
    x = torch.randn(7, sizes[0], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    h = x.numpy()
    for n, weight in enumerate(network.weights):
        if n > 0:
            h = h / (1 + np.exp(-h)) * sqrt(2)
        h = h @ weight.detach().numpy() / sqrt(sizes[n])
    close(network(x), h, 1e-13)


FORMULAS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gelu": lambda x: x / 2 * (1 + erf(x / sqrt(2))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_network_nonlinearities(name: str) -> None:
    network = ScalarMLP([3, 4, 2], torch.float64, torch.Generator().manual_seed(1), nonlinearity=name)
    first, second = (weight.detach().numpy() for weight in network.weights)
    x = 3 * torch.randn(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = FORMULAS[name](x.numpy() @ first / sqrt(3)) @ second * sqrt(2 / 4)
    close(network(x), expected, 1e-13)


def test_network_without_nonlinearity_is_a_product_of_matrices_at_unit_gain() -> None:
    network = ScalarMLP([3, 4, 5, 2], torch.float64, torch.Generator().manual_seed(1), nonlinearity=None)
    first, second, third = (weight.detach() for weight in network.weights)
    close(network(torch.eye(3, dtype=torch.float64)), first @ second @ third / sqrt(3 * 4 * 5), 1e-14)


@pytest.mark.parametrize("nonlinearity", [*FORMULAS, None])
def test_network_maps_zero_to_zero(nonlinearity: str | None) -> None:
    """Edges beyond the cutoff have a zero basis: their weights must be exactly zero, whatever the depth."""
    network = ScalarMLP([8, 16, 16, 5], torch.float32, torch.Generator().manual_seed(1), nonlinearity)
    assert torch.equal(network(torch.zeros(3, 8)), torch.zeros(3, 5))
