"""Scalar embeddings of an edge: the formulas of their parts, types in their places, exact zeros beyond the cutoff."""

from math import pi, sqrt

import numpy as np
import pytest
import torch

from shoal.nn import BesselBasis, polynomial_envelope
from shoal.nn.two_body import BesselEmbedding, SplineEmbedding
from shoal.testing import close

EDGES = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])
TYPES = torch.tensor([0, 2, 1])
X = torch.tensor([0.2, 0.5, 0.77, 0.99], dtype=torch.float64)


def bessel(cutoff: float = 5.0) -> BesselEmbedding:
    basis = BesselBasis(cutoff, 4, 6, False)
    return BesselEmbedding(3, 6, basis, torch.float64, torch.Generator().manual_seed(0))


def spline(n_types: int = 3, num_splines: int = 6, span: int = 3) -> SplineEmbedding:
    return SplineEmbedding(n_types, 5, num_splines, span, torch.float64, torch.Generator().manual_seed(0))


def bumps(x: np.ndarray, num_splines: int, span: int) -> np.ndarray:
    """(1 - cos)^2 / 4 of the phase within each bump, which starts k - span intervals from zero."""
    starts = (np.arange(num_splines) - span) / num_splines
    width = (span + 1) / num_splines
    phase = 2 * pi * (x[:, None] - starts) / width
    return np.where((phase > 0) & (phase < 2 * pi), 0.25 * (1 - np.cos(phase)) ** 2, 0)


def test_bessel_times_both_types() -> None:
    embedding = bessel()
    n = torch.arange(1, 5, dtype=torch.float64)
    radial = torch.sinc(n * X[:, None]) * n * polynomial_envelope(X, 6)[:, None]
    (weight,) = embedding.linear.weights
    centre, neighbor = embedding.centre[TYPES[EDGES[0]]], embedding.neighbor[TYPES[EDGES[1]]]
    expected = (radial @ weight / 2) * torch.cat([centre, neighbor], dim=1)
    close(embedding(X, EDGES, TYPES), expected, 1e-12)


def test_bessel_depends_on_shares_of_the_cutoff_alone() -> None:
    close(bessel(3.0)(X, EDGES, TYPES), bessel(5.0)(X, EDGES, TYPES), 1e-12)


@pytest.mark.parametrize(("num_splines", "span"), [(6, 3), (16, 12), (4, 4), (5, 1)])
def test_splines_are_bumps_with_coefficients_of_the_pair(num_splines: int, span: int) -> None:
    embedding = spline(3, num_splines, span)
    pairs = 3 * TYPES[EDGES[0]] + TYPES[EDGES[1]]
    expected = np.einsum(
        "ek,ekc->ec", bumps(X.numpy(), num_splines, span), embedding.coefficients.detach()[pairs].numpy()
    )
    close(embedding(X, EDGES, TYPES), expected, 1e-12)


def test_one_type_is_the_case_of_three_types_with_equal_coefficients() -> None:
    one, three = spline(1), spline(3)
    with torch.no_grad():
        three.coefficients.copy_(one.coefficients.expand(9, -1, -1))
    close(one(X, EDGES, torch.zeros(3, dtype=torch.int64)), three(X, EDGES, TYPES), 1e-12)


@pytest.mark.parametrize("make", [bessel, spline])
def test_beyond_the_cutoff_all_is_exactly_zero(make) -> None:
    beyond = torch.tensor([1.0, 1 + 1e-12, 1.5, 9.0], dtype=torch.float64, requires_grad=True)
    values = make()(beyond, EDGES, TYPES)
    (slope,) = torch.autograd.grad(values.sum(), beyond, create_graph=True)
    assert torch.equal(values, torch.zeros_like(values))
    assert torch.equal(slope, torch.zeros_like(slope))


def test_splines_keep_their_digits_in_a_float32_model() -> None:
    embedding = SplineEmbedding(3, 5, 6, 3, torch.float32, torch.Generator().manual_seed(0))
    assert embedding.coefficients.dtype == torch.float64
    values = embedding(X, EDGES, TYPES)
    assert torch.equal(values, spline()(X, EDGES, TYPES).to(torch.float32))


def test_initial_coefficients_are_uniform_with_the_variance_of_one_in_span() -> None:
    values = SplineEmbedding(4, 64, 16, 12, torch.float64, torch.Generator().manual_seed(0)).coefficients
    assert values.abs().max().item() == pytest.approx(sqrt(3 / 12), rel=1e-3)
    assert values.var().item() == pytest.approx(1 / 12, rel=0.05)
