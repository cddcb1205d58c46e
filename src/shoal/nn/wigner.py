"""Wigner 3j symbols in the basis of the real spherical harmonics (`harmonics.py`), computed in float64.

The convention (order of components, signs, Frobenius norm 1) is e3nn's: Geiger and Smidt, arXiv:2207.09453.
"""

from functools import cache
from math import factorial, sqrt

import numpy as np
import torch
from torch import Tensor


def wigner_3j(l1: int, l2: int, l3: int) -> Tensor:
    """The tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64, that couples l1 and l2 to l3 invariantly.

    Its Frobenius norm is 1. Degrees that violate the triangle rule raise ValueError.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees {l1}, {l2}, {l3} violate the triangle rule")
    return torch.from_numpy(_wigner_3j(l1, l2, l3).copy())


@cache
def _wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    complex_basis = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            complex_basis[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3)
    q1, q2, q3 = _real_basis(l1), _real_basis(l2), _real_basis(l3)
    coupling = np.einsum("ia,jb,kc,ijk->abc", q1, q2, q3.conj(), complex_basis).real
    return coupling / np.linalg.norm(coupling)


def _real_basis(l: int) -> np.ndarray:
    """Columns: real harmonics in terms of complex ones; the phase (-i)^l makes all couplings real."""
    basis = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    basis[l, l] = 1
    for m in range(1, l + 1):
        sign = (-1) ** m
        basis[l + m, l + m] = sign / sqrt(2)
        basis[l - m, l + m] = 1 / sqrt(2)
        basis[l + m, l - m] = 1j * sign / sqrt(2)
        basis[l - m, l - m] = -1j / sqrt(2)
    return (-1j) ** l * basis


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """<l1 m1 l2 m2 | l3 m1+m2> with Condon-Shortley phases, by Racah's formula."""
    m3 = m1 + m2
    triangle = factorial(l1 + l2 - l3) * factorial(l1 - l2 + l3) * factorial(l2 + l3 - l1)
    moments = 1
    for l, m in ((l1, m1), (l2, m2), (l3, m3)):
        moments *= factorial(l + m) * factorial(l - m)
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        total += (-1) ** k / (
            factorial(k)
            * factorial(l1 + l2 - l3 - k)
            * factorial(l1 - m1 - k)
            * factorial(l2 + m2 - k)
            * factorial(l3 - l2 + m1 + k)
            * factorial(l3 - l1 - m2 + k)
        )
    return sqrt((2 * l3 + 1) * triangle * moments / factorial(l1 + l2 + l3 + 1)) * total
