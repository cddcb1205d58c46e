"""Which features exist and couple: e3nn's selection rules."""

import pytest
from e3nn import o3

from shoal.nn import SCALAR, Irrep, couplings, reachable

ALL = [Irrep(l, p) for l in range(4) for p in (1, -1)]


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ALL)
def test_product_is_e3nns(first: Irrep, second: Irrep) -> None:
    assert [str(ir) for ir in first.times(second)] == [str(ir) for ir in o3.Irrep(str(first)) * o3.Irrep(str(second))]


def test_couplings_keep_the_order_of_sources_then_degrees_then_targets() -> None:
    vector, tensor = Irrep(1, -1), Irrep(2, 1)
    paths = couplings({SCALAR: 4, vector: 3}, 2, {SCALAR: 8, vector: 8, tensor: 8})
    assert [(str(p.source), p.l, str(p.target), p.channels) for p in paths] == [
        ("0e", 0, "0e", 4),
        ("0e", 1, "1o", 4),
        ("0e", 2, "2e", 4),
        ("1o", 0, "1o", 3),
        ("1o", 1, "0e", 3),
        ("1o", 1, "2e", 3),
        ("1o", 2, "1o", 3),
    ]


def test_only_natural_parity_is_reached_from_scalars() -> None:
    hidden = {Irrep(l, p): 2 for l in range(3) for p in (1, -1)}
    assert [str(ir) for ir in reachable({SCALAR: 5}, 2, hidden)] == ["0e", "1o", "2e"]
