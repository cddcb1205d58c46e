"""Inverse, exponential with its derivative, and logarithm of many small matrices at once, as plain tensor operations.

S matrices. Each takes the same few operations whatever the values, so that all of it can be traced and compiled, and
none of it calls LAPACK.
"""

from __future__ import annotations

from functools import cache
from math import factorial

import numpy as np
import torch

_DEGREE = 16
"""Of the Taylor polynomial of exp, a multiple of 4; its remainder at norm 1/2 is 0.5**17 / 17! = 2e-20."""
_SQUARINGS = 6
_POINTS = 64
"""Of the quadrature of log: for eigenvalues a its relative error is about abs((a^1/2 - 1) / (a^1/2 + 1))**(2 * 64)."""
_FARTHEST = 0.96
"""Of abs((a - 1) / (a + 1)): a = 49 and 1/49, or a rotation by 87 degrees."""


def inverse3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the inverse of matrices (S, 3, 3); not finite where there is none."""
    cofactors = _cofactors(matrix)
    determinant = (matrix[:, 0] * cofactors[:, 0]).sum(1)
    return cofactors.transpose(1, 2) / determinant[:, None, None]


def determinant3(matrix: torch.Tensor) -> torch.Tensor:
    """(S,): the determinant of matrices (S, 3, 3)."""
    return (matrix[:, 0] * _cofactors(matrix)[:, 0]).sum(1)


def matrix_exp(matrix: torch.Tensor) -> torch.Tensor:
    """(S, n, n): exp of matrices (S, n, n), to rounding; NaN where the norm, without the trace, is beyond 32.

    Scaling and squaring of a Taylor polynomial, after the mean of the diagonal is taken off.
    Source: C. Moler, C. Van Loan, SIAM Rev. 45, 3 (2003), method 3.
    """
    n = matrix.shape[-1]
    identity = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    mean = (matrix * identity).sum((1, 2), keepdim=True) / n
    traceless = matrix - mean * identity
    norm = _norm(traceless)
    thresholds = 0.5 * 2 ** torch.arange(_SQUARINGS + 1, dtype=matrix.dtype, device=matrix.device)
    squarings = (norm > thresholds).to(matrix.dtype).sum(2, keepdim=True)
    result = _taylor_exp(traceless * 0.5**squarings, identity)
    for done in range(_SQUARINGS):
        result = torch.where(squarings > done, torch.bmm(result, result), result)
    return torch.where(squarings <= _SQUARINGS, result * mean.exp(), float("nan"))


def matrix_exp_derivative(matrix: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """(S, n, n): the Frechet derivative L(A, E) = d/dt exp(A + t E) at t = 0 for A, E (S, n, n).

    As the upper right block of exp([[A, E], [0, A]]); it is linear in E, which is therefore taken at norm 1. The
    adjoint of L(A, .) is L(A^T, .). Source: N. J. Higham, Functions of Matrices, SIAM (2008), eqs. 3.16 and 10.17.
    """
    n = matrix.shape[-1]
    norm = _norm(direction)
    unit = direction / torch.where(norm > 0, norm, 1.0)
    upper = torch.cat((matrix, unit), dim=2)
    lower = torch.cat((torch.zeros_like(matrix), matrix), dim=2)
    return matrix_exp(torch.cat((upper, lower), dim=1))[:, :n, n:] * norm


def matrix_log3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the principal logarithm of matrices (S, 3, 3), to rounding.

    For stretches up to 49 times their mean and rotations up to 87 degrees; NaN beyond, and where the determinant is
    not positive. With the determinant made 1, log A is the integral of (A - 1) (1 + t (A - 1))^-1 over t from 0 to 1,
    by Gauss-Legendre quadrature. Source: N. J. Higham, Functions of Matrices, SIAM (2008), eqs. 11.1 and 11.18.
    """
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    mean = determinant3(matrix)[:, None, None].log() / 3
    # near 1 nothing is taken off: what is small there must not be lost to rounding
    mean = torch.where(_norm(matrix - identity) < 0.5, 0.0, mean)
    change = matrix * torch.exp(-mean) - identity
    points, weights = (torch.tensor(v, dtype=matrix.dtype, device=matrix.device)[:, None, None] for v in _quadrature())
    at_points = inverse3((identity + points * change[:, None]).flatten(0, 1)).unflatten(0, (-1, _POINTS))
    logarithm = torch.bmm(change, (weights * at_points).sum(1)) + mean * identity
    power = torch.bmm(change, inverse3(change + 2 * identity))
    for _ in range(4):
        power = torch.bmm(power, power)
    return torch.where(_norm(power) <= _FARTHEST**16, logarithm, float("nan"))


@cache
def _quadrature() -> tuple[list[float], list[float]]:
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    return (0.5 * (1 + points)).tolist(), (0.5 * weights).tolist()


def _taylor_exp(matrix: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    """The polynomial of exp, in blocks of four powers, by 7 products.

    Source: M. S. Paterson, L. J. Stockmeyer, SIAM J. Comput. 2, 60 (1973).
    """
    second = torch.bmm(matrix, matrix)
    third = torch.bmm(second, matrix)
    fourth = torch.bmm(second, second)
    result = fourth / factorial(_DEGREE)
    for low in range(_DEGREE - 4, -1, -4):
        c0, c1, c2, c3 = (1 / factorial(low + k) for k in range(4))
        result = result + c0 * identity + c1 * matrix + c2 * second + c3 * third
        result = torch.bmm(fourth, result) if low else result
    return result


def _norm(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 1, 1): the largest sum of a row's absolute values."""
    return matrix.abs().sum(2, keepdim=True).amax(1, keepdim=True)


def _cofactors(matrix: torch.Tensor) -> torch.Tensor:
    def turned(rows: int, columns: int) -> torch.Tensor:
        return torch.roll(matrix, (-rows, -columns), (1, 2))

    return turned(1, 1) * turned(2, 2) - turned(1, 2) * turned(2, 1)
