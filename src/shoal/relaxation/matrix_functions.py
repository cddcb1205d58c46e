"""Inverse, exponential with its derivative, and logarithm of many small matrices at once, as plain tensor operations.

S matrices. Each takes the same operations whatever the values, so that all of it can be traced and compiled, and
none of it calls LAPACK.
"""

from __future__ import annotations

from math import factorial

import torch

_DEGREE = 16
"""Of the Taylor polynomial of exp, a multiple of 4; its remainder at norm 1/2 is 0.5**17 / 17! = 2e-20."""
_SQUARINGS = 12
_ROOTS = 8
_ROOT_ITERATIONS = 12
_ARTANH_TERMS = 9


def inverse3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the inverse of matrices (S, 3, 3); not finite where there is none."""
    adjugate, determinant = _adjugate(matrix)
    return adjugate / determinant[:, None, None]


def determinant3(matrix: torch.Tensor) -> torch.Tensor:
    """(S,): the determinant of matrices (S, 3, 3)."""
    return _adjugate(matrix)[1]


def matrix_exp(matrix: torch.Tensor) -> torch.Tensor:
    """(S, n, n): exp of matrices (S, n, n), to rounding; NaN where the norm less the trace is beyond 2000.

    Scaling and squaring of a Taylor polynomial, after the mean of the diagonal is taken off.
    Source: C. Moler, C. Van Loan, SIAM Rev. 45, 3 (2003), method 3.
    """
    n = matrix.shape[-1]
    identity = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    mean = torch.diagonal(matrix, dim1=1, dim2=2).sum(1)[:, None, None] / n
    traceless = matrix - mean * identity
    norm = traceless.abs().sum(2).amax(1)[:, None, None]
    exponents = torch.arange(_SQUARINGS + 1, dtype=matrix.dtype, device=matrix.device)
    squarings = (norm > 0.5 * 2**exponents).to(matrix.dtype).sum(2, keepdim=True)
    result = _taylor_exp(traceless * 0.5**squarings, identity)
    for done in range(_SQUARINGS):
        result = torch.where(squarings > done, result @ result, result)
    return torch.where(squarings <= _SQUARINGS, result * mean.exp(), float("nan"))


def matrix_exp_derivative(matrix: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """(S, n, n): the Frechet derivative L(A, E) = d/dt exp(A + t E) at t = 0 for A, E (S, n, n).

    As the upper right block of exp([[A, E], [0, A]]); it is linear in E, which is therefore taken at norm 1. The
    adjoint of L(A, .) is L(A^T, .). Source: N. J. Higham, Functions of Matrices, SIAM (2008), eqs. 3.16 and 10.17.
    """
    n = matrix.shape[-1]
    norm = direction.abs().sum(2).amax(1)[:, None, None]
    unit = direction / torch.where(norm > 0, norm, 1.0)
    upper = torch.cat((matrix, unit), dim=2)
    lower = torch.cat((torch.zeros_like(matrix), matrix), dim=2)
    return matrix_exp(torch.cat((upper, lower), dim=1))[:, :n, n:] * norm


def matrix_log3(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3): the principal logarithm of matrices (S, 3, 3) without eigenvalues on the negative real axis.

    Inverse scaling and squaring, after the determinant is made 1: square roots by the product form of
    Denman and Beavers' iteration, then log A = 2 artanh((A - 1) (A + 1)^-1). NaN where the determinant is not
    positive or the roots do not come near 1. Source: N. J. Higham, Functions of Matrices, SIAM (2008), eqs. 6.29
    and 11.25.
    """
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    mean = determinant3(matrix).log()[:, None, None] / 3
    # near 1 nothing is taken off: what is small there must not be lost to rounding
    near = _norm(matrix - identity) < 0.5
    mean = torch.where(near, 0.0, mean)
    root = torch.where(near, matrix, matrix * torch.exp(-mean))
    scale = torch.ones_like(mean)
    for _ in range(_ROOTS):
        far = _norm(root - identity) > 0.2
        root = torch.where(far, _square_root(root, identity), root)
        scale = torch.where(far, 2 * scale, scale)
    ratio = (root - identity) @ inverse3(root + identity)
    square = ratio @ ratio
    series = identity / (2 * _ARTANH_TERMS - 1)
    for k in range(_ARTANH_TERMS - 2, -1, -1):
        series = identity / (2 * k + 1) + square @ series
    logarithm = 2 * scale * (ratio @ series) + mean * identity
    return torch.where(_norm(root - identity) <= 0.2, logarithm, float("nan"))


def _taylor_exp(matrix: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    """The polynomial of exp, in blocks of four powers: 7 products. Source: M. S. Paterson, L. J. Stockmeyer (1973)."""
    second = matrix @ matrix
    third = second @ matrix
    fourth = second @ second
    result = identity / factorial(_DEGREE)
    for low in range(_DEGREE - 4, -1, -4):
        c0, c1, c2, c3 = (1 / factorial(low + k) for k in range(4))
        result = c0 * identity + c1 * matrix + c2 * second + c3 * third + fourth @ result
    return result


def _square_root(matrix: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    product, root = matrix, matrix
    for _ in range(_ROOT_ITERATIONS):
        inverse = inverse3(product)
        root = 0.5 * root @ (identity + inverse)
        product = 0.5 * (identity + 0.5 * (product + inverse))
    return root


def _norm(matrix: torch.Tensor) -> torch.Tensor:
    """(S, 1, 1): the largest sum of a row's absolute values."""
    return matrix.abs().sum(2).amax(1)[:, None, None]


def _adjugate(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The transposed cofactors (S, 3, 3), and the determinant (S,)."""
    a, b, c = matrix.unbind(1)
    columns = _cross(b, c), _cross(c, a), _cross(a, b)
    return torch.stack(columns, dim=2), (a * columns[0]).sum(1)


def _cross(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    x, y, z = u.unbind(1)
    p, q, r = v.unbind(1)
    return torch.stack((y * r - z * q, z * p - x * r, x * q - y * p), dim=1)
