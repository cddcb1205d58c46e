"""Inverse, exponential with its derivative, and logarithm of many 3 x 3 matrices at once, as plain tensor operations.

S matrices. Each takes the same few operations whatever the values, so that all of it can be traced and compiled at
little cost, and none of it calls LAPACK.
"""

from __future__ import annotations

from functools import cache
from math import factorial

import numpy as np
import torch

_DEGREE = 44
"""Of the power series of exp; at the largest norm the rest is 6**45 / 45! = 9e-22."""
_LARGEST = 6.0
"""Frobenius norm without the trace, beyond which digits are lost: stretches by 130, turns by 243 degrees."""
_POINTS = 64
"""Of the quadrature of log: for eigenvalues a its relative error is about abs((a^1/2 - 1) / (a^1/2 + 1))**(2 * 64)."""
_FARTHEST = 0.96
"""Of abs((a - 1) / (a + 1)): a = 49 and 1/49, or a rotation by 87 degrees."""


def product3(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the products of matrices (S, 3, 3); written out, compilers join it with what is around."""
    return (a[:, :, :, None] * b[:, None]).sum(2)


def inverse3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the inverse of matrices (S, 3, 3); not finite where there is none."""
    cofactors = _cofactors(matrix)
    determinant = (matrix[:, 0] * cofactors[:, 0]).sum(1)
    return cofactors.transpose(1, 2) / determinant[:, None, None]


def determinant3(matrix: torch.Tensor) -> torch.Tensor:
    """(S,): the determinant of matrices (S, 3, 3)."""
    return (matrix[:, 0] * _cofactors(matrix)[:, 0]).sum(1)


def matrix_exp3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): exp of matrices (S, 3, 3), to rounding; NaN where the Frobenius norm, without the trace, is beyond 6.

    A traceless B has B^3 = p B + q with p = tr(B^2) / 2 and q = det B (Cayley and Hamilton), so that the series of
    exp is a + b B + c B^2 with coefficients that are series in p and q.
    """
    return _Series(matrix, with_slopes=False).exponential


def matrix_exp3_derivative(matrix: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the Frechet derivative L(A, E) = d/dt exp(A + t E) at t = 0 for A, E (S, 3, 3).

    The adjoint of L(A, .) is L(A^T, .) (N. J. Higham, Functions of Matrices, SIAM (2008), chapter 3).
    """
    return _Series(matrix).derivative(direction)


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
    logarithm = product3(change, (weights * at_points).sum(1)) + mean * identity
    power = product3(change, inverse3(change + 2 * identity))
    for _ in range(4):
        power = product3(power, power)
    return torch.where(_norm(power) <= _FARTHEST**16, logarithm, float("nan"))


@cache
def _quadrature() -> tuple[list[float], list[float]]:
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    return (0.5 * (1 + points)).tolist(), (0.5 * weights).tolist()


class _Series:
    """exp(B + m) = exp(m) (a + b B + c B^2) for traceless B, and the slopes of the coefficients in p and q."""

    def __init__(self, matrix: torch.Tensor, *, with_slopes: bool = True) -> None:
        self.identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        mean = _trace(matrix) / 3
        self.traceless = matrix - mean * self.identity
        self.square = product3(self.traceless, self.traceless)
        p, q = _trace(self.square) / 2, _trace_of_product(self.square, self.traceless) / 3
        tables = _coefficients() if with_slopes else _coefficients()[:3]
        table = torch.tensor(tables, dtype=matrix.dtype, device=matrix.device)
        of_p = (_powers(p, table.shape[1]) @ table.transpose(0, 1).flatten(1)).unflatten(1, (len(tables), -1))
        self.values = (of_p * _powers(q, table.shape[2])[:, None, :]).sum(2)[:, :, None, None].unbind(1)
        within = torch.where(
            _trace_of_product(self.traceless, self.traceless.transpose(1, 2)) <= _LARGEST**2, 1.0, float("nan")
        )
        self.scale = within * mean.exp()

    @property
    def exponential(self) -> torch.Tensor:
        return self.scale * self._combined(*self.values[:3])

    def derivative(self, direction: torch.Tensor) -> torch.Tensor:
        mean = _trace(direction) / 3
        towards = direction - mean * self.identity
        a, b, c, *slopes = self.values
        p, q = _trace_of_product(self.traceless, towards), _trace_of_product(self.square, towards)
        coefficients = (in_p * p + in_q * q for in_p, in_q in zip(slopes[:3], slopes[3:], strict=True))
        mixed = product3(self.traceless, towards) + product3(towards, self.traceless)
        return self.scale * (mean * self._combined(a, b, c) + self._combined(*coefficients) + b * towards + c * mixed)

    def _combined(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return a * self.identity + b * self.traceless + c * self.square


@cache
def _coefficients() -> list[list[list[float]]]:
    """9 tables by powers of p and q: of a, b, c, of their slopes in p, and of those in q.

    From B^n = u + v B + w B^2 follows B^(n+1) = q w + (u + p w) B + v B^2.
    """
    shape = _DEGREE // 2 + 2, _DEGREE // 3 + 2
    power = np.zeros((3, *shape))
    power[0, 0, 0] = 1.0
    total = np.zeros_like(power)
    for n in range(_DEGREE + 1):
        total += power / factorial(n)
        u, v, w = power
        power = np.stack((np.roll(w, 1, 1), u + np.roll(w, 1, 0), v))
    in_p = np.zeros_like(total)
    in_p[:, :-1] = total[:, 1:] * np.arange(1, shape[0])[:, None]
    in_q = np.zeros_like(total)
    in_q[:, :, :-1] = total[:, :, 1:] * np.arange(1, shape[1])
    return np.concatenate((total, in_p, in_q)).tolist()


def _powers(value: torch.Tensor, n: int) -> torch.Tensor:
    """(S, n): the powers 0 to n - 1 of values (S, 1, 1)."""
    return value[:, :, 0] ** torch.arange(n, dtype=value.dtype, device=value.device)


def _trace(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 1, 1)."""
    return torch.diagonal(matrix, dim1=1, dim2=2).sum(1)[:, None, None]


def _trace_of_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(S, 1, 1)."""
    return (a * b.transpose(1, 2)).sum((1, 2), keepdim=True)


def _norm(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 1, 1): the largest sum of a row's absolute values."""
    return matrix.abs().sum(2, keepdim=True).amax(1, keepdim=True)


def _cofactors(matrix: torch.Tensor) -> torch.Tensor:
    def turned(rows: int, columns: int) -> torch.Tensor:
        return torch.roll(matrix, (-rows, -columns), (1, 2))

    return turned(1, 1) * turned(2, 2) - turned(1, 2) * turned(2, 1)
