"""Functions of 3 x 3 matrices against scipy, and against 60 digits where scipy itself has fewer."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import expm, expm_frechet, logm
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.matrix_functions import (
    determinant3,
    inverse3,
    matrix_exp3,
    matrix_exp3_derivative,
    matrix_log3,
)
from shoal.testing import close

SIZES = [0.0, 1e-14, 1e-9, 1e-4, 0.01, 0.1, 0.4, 1.0]


pytestmark = pytest.mark.filterwarnings("ignore:logm result may be inaccurate")


def random_matrices(seed: int, n: int = 12) -> np.ndarray:
    """General, symmetric and antisymmetric ones."""
    general = np.random.default_rng(seed).normal(size=(n, 3, 3))
    transposed = general.transpose(0, 2, 1)
    return np.concatenate((general, (general + transposed) / 2, (general - transposed) / 2))


@pytest.mark.parametrize("size", SIZES)
def test_exponential(size: float) -> None:
    matrices = size * random_matrices(1)
    close(matrix_exp3(torch.as_tensor(matrices)), np.array([expm(m) for m in matrices]), 1e-13)


def test_exponential_of_large_matrices() -> None:
    """As large as they may be without their trace, against 60 digits: scipy loses some."""
    mpmath.mp.dps = 60
    matrices = random_matrices(2, 4)
    matrices -= np.trace(matrices, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    matrices *= 5.99 / np.linalg.norm(matrices, axis=(1, 2))[:, None, None]
    for matrix in (*matrices, *(matrices + 30 * np.eye(3)), *(matrices - 30 * np.eye(3))):
        exact = np.array(mpmath.expm(mpmath.matrix(matrix.tolist())).tolist(), dtype=float)
        got = matrix_exp3(torch.as_tensor(matrix)[None])[0].numpy()
        close(got / np.abs(exact).max(), exact / np.abs(exact).max(), 1e-13)


def test_exponential_out_of_range_is_nan_and_leaves_the_others() -> None:
    matrices = torch.stack((torch.full((3, 3), 1e5), torch.eye(3), torch.zeros(3, 3))).double()
    result = matrix_exp3(matrices)
    assert bool(torch.isnan(result[0]).all())
    close(result[1:], np.array([np.e * np.eye(3), np.eye(3)]), 1e-15)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("direction", [1e-12, 1.0, 1e9])
def test_derivative_of_the_exponential(size: float, direction: float) -> None:
    matrices, towards = size * random_matrices(3), direction * random_matrices(4)
    exact = np.array([expm_frechet(a, e, compute_expm=False) for a, e in zip(matrices, towards, strict=True)])
    got = matrix_exp3_derivative(torch.as_tensor(matrices), torch.as_tensor(towards))
    close(got / direction, exact / direction, 1e-13)


def test_derivative_in_no_direction() -> None:
    matrices = torch.as_tensor(random_matrices(3))
    close(matrix_exp3_derivative(matrices, torch.zeros_like(matrices)), np.zeros(matrices.shape), 0.0)


def test_adjoint_of_the_derivative() -> None:
    """<L(A, E), G> = <E, L(A^T, G)>, by which the Frechet filter takes one derivative where ASE takes nine."""
    a, e, g = (torch.as_tensor(random_matrices(seed)) for seed in (5, 6, 7))
    left = (matrix_exp3_derivative(a, e) * g).sum((1, 2))
    close(left, (e * matrix_exp3_derivative(a.transpose(1, 2), g)).sum((1, 2)), 1e-13)


@pytest.mark.parametrize("size", [*SIZES[:-1], 0.6])
def test_logarithm(size: float) -> None:
    matrices = np.array([expm(m) for m in size * random_matrices(8)])
    close(matrix_log3(torch.as_tensor(matrices)), np.array([logm(m) for m in matrices]), 1e-13)


def test_logarithm_of_tiny_strains_loses_no_digits() -> None:
    """log(1 + x) = x - x^2/2 + x^3/3 of the strain as it is in the matrix."""
    matrices = np.eye(3) + 1e-9 * random_matrices(9)
    x = matrices - np.eye(3)
    exact = x - x @ x / 2
    close(matrix_log3(torch.as_tensor(matrices)) / 1e-9, exact / 1e-9, 1e-14)


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_logarithm_of_a_scaled_matrix(scale: float) -> None:
    """Where ASE takes the logarithm of the deformation gradient times the number of atoms."""
    matrices = scale * np.array([expm(m) for m in 0.2 * random_matrices(10)])
    close(matrix_log3(torch.as_tensor(matrices)), np.array([logm(m) for m in matrices]), 1e-13)


def test_logarithm_of_large_deformations_is_undone_by_the_exponential() -> None:
    matrices = np.diag([20.0, 0.1, 3.0]) @ np.array([[1, 0.3, 0], [0, 1, -0.2], [0.1, 0, 1]])
    logarithm = matrix_log3(torch.as_tensor(matrices)[None])
    close(matrix_exp3(logarithm)[0] / 20, matrices / 20, 1e-13)
    close(logarithm[0], logm(matrices), 1e-13)


def test_logarithm_out_of_range_is_nan() -> None:
    """Rather than a number with fewer digits: a range of stretches, and a turn."""
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    matrices = [np.diag([300.0, 0.01, 1.0]), expm(1.7 * turn), expm(1.4 * turn), np.diag([20.0, 0.1, 1.0])]
    result = matrix_log3(torch.as_tensor(np.array(matrices)))
    assert torch.isnan(result).flatten(1).any(1).tolist() == [True, True, False, False]


def test_matrices_without_a_real_logarithm_are_nan() -> None:
    mirrored = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    result = matrix_log3(torch.stack((mirrored, half_turn, torch.eye(3, dtype=torch.float64))))
    assert torch.isnan(result).flatten(1).all(1).tolist() == [True, True, False]


def test_inverse_and_determinant_of_either_handedness() -> None:
    matrices = random_matrices(11)[:12] + 2 * np.eye(3)
    matrices[::2] = matrices[::2, [1, 0, 2]]
    exact = np.linalg.det(matrices)
    assert (exact < 0).any()
    assert (exact > 0).any()
    close(determinant3(torch.as_tensor(matrices)), exact, 1e-13)
    close(inverse3(torch.as_tensor(matrices)), np.linalg.inv(matrices), 1e-13)


@pytest.mark.parametrize("function", [matrix_exp3, matrix_log3, inverse3, lambda a: matrix_exp3_derivative(a, a @ a)])
def test_traced_for_any_number_of_matrices(function) -> None:
    few, many = (torch.as_tensor(np.array([expm(m) for m in 0.3 * random_matrices(12, n)])) for n in (2, 5))
    graph = make_fx(function, tracing_mode="symbolic")(few)
    assert torch.equal(graph(many), function(many))
    called = {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}
    assert not {name for name in called if "linalg" in name}
