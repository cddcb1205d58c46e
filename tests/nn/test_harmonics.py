"""Spherical harmonics are e3nn's, to the last digit, and are differentiable where a polynomial should be."""

import pytest
import torch
from e3nn import o3

from shoal.nn import spherical_harmonics
from shoal.nn.harmonics import degree
from shoal.testing import close


def directions(count: int) -> torch.Tensor:
    """Unit vectors (count + 6, 3): random ones and the six along the axes."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    axes = torch.eye(3, dtype=torch.float64)
    return torch.cat([random / random.norm(dim=1, keepdim=True), axes, -axes])


@pytest.mark.parametrize("l_max", range(5))
def test_equal_e3nn(l_max: int) -> None:
    u = directions(50)
    expected = o3.spherical_harmonics(list(range(l_max + 1)), u, normalize=False, normalization="component")
    close(spherical_harmonics(u, l_max), expected, 1e-13)


@pytest.mark.parametrize("l", range(5))
def test_component_normalisation(l: int) -> None:
    values = degree(spherical_harmonics(directions(50), 4), l)
    close((values**2).sum(1), torch.full((56,), 2.0 * l + 1), 1e-13)


@pytest.mark.parametrize("l", range(5))
def test_parity(l: int) -> None:
    u = directions(50)
    close(degree(spherical_harmonics(-u, 4), l), (-1) ** l * degree(spherical_harmonics(u, 4), l), 1e-13)


def test_first_degree_is_the_vector() -> None:
    u = directions(50)
    close(degree(spherical_harmonics(u, 1), 1), 3**0.5 * u, 1e-14)


def test_gradients_up_to_second_order() -> None:
    u = directions(2)[:3].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spherical_harmonics(x, 4), (u,))
    assert torch.autograd.gradgradcheck(lambda x: spherical_harmonics(x, 4), (u,))


def test_dtype_is_kept() -> None:
    assert spherical_harmonics(directions(1).float(), 2).dtype == torch.float32


@pytest.mark.parametrize("l_max", [-1, 5])
def test_unwritten_degree_is_refused(l_max: int) -> None:
    with pytest.raises(ValueError, match="0 to 4"):
        spherical_harmonics(directions(1), l_max)
