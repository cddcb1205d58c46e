"""Wigner 3j symbols have e3nn's basis, signs and norm, and couple rotations invariantly."""

from typing import Any

import pytest
import torch
from e3nn import o3

from shoal.nn import wigner_3j
from shoal.testing import close

TRIPLES = [(a, b, c) for a in range(5) for b in range(5) for c in range(abs(a - b), min(a + b, 4) + 1)]


@pytest.mark.parametrize("degrees", TRIPLES)
def test_equal_e3nn_signs_included(degrees: tuple[int, int, int]) -> None:
    close(wigner_3j(*degrees), o3.wigner_3j(*degrees, dtype=torch.float64), 1e-14)


@pytest.mark.parametrize("degrees", TRIPLES)
def test_norm_is_one(degrees: tuple[int, int, int]) -> None:
    assert wigner_3j(*degrees).norm().item() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("degrees", TRIPLES)
def test_invariant_under_rotation(degrees: tuple[int, int, int], in_float64: Any) -> None:
    angles = torch.tensor([0.3, 1.1, -2.0], dtype=torch.float64)
    with in_float64():
        rotations = [o3.wigner_D(l, *angles) for l in degrees]
    w3j = wigner_3j(*degrees)
    close(torch.einsum("ia,jb,kc,abc->ijk", *rotations, w3j), w3j, 1e-12)


def test_a_result_may_be_changed_without_harm() -> None:
    wigner_3j(1, 1, 0).zero_()
    assert wigner_3j(1, 1, 0).norm().item() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("degrees", [(0, 0, 1), (1, 1, 3), (4, 1, 2)])
def test_triangle_rule(degrees: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="triangle"):
        wigner_3j(*degrees)
