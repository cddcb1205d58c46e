"""Tensor product with the surroundings: the sum over couplings as it is written, edge by edge."""

from itertools import pairwise
from math import sqrt

import pytest
import torch

from shoal.nn import Irrep, wigner_3j
from shoal.nn.contraction import Contraction, coupling_paths
from shoal.testing import close

NATURAL = [Irrep(l, (-1) ** l) for l in range(4)]
BOTH = [Irrep(l, parity) for l in range(4) for parity in (1, -1)]
SETS = [
    pytest.param(NATURAL[:1], 0, NATURAL[:1], id="scalars"),
    pytest.param(NATURAL[:3], 2, NATURAL[:1], id="last layer"),
    pytest.param(NATURAL, 3, BOTH, id="into both parities"),
    pytest.param(BOTH[1:6], 2, BOTH[:5], id="some irreps"),
]


def blocks(irreps: list[Irrep]) -> dict[Irrep, slice]:
    ends = [0]
    for irrep in irreps:
        ends.append(ends[-1] + irrep.dim)
    return {irrep: slice(*each) for irrep, each in zip(irreps, pairwise(ends), strict=True)}


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize(("inputs", "l_max", "outputs"), SETS)
def test_sums_over_paths(inputs: list[Irrep], l_max: int, outputs: list[Irrep], coupled: bool) -> None:
    source = torch.Generator().manual_seed(1)
    contraction = Contraction(inputs, l_max, outputs, 3, coupled, torch.float64, source)
    centre = torch.tensor([0, 2, 2, 1, 0, 2])
    x = torch.randn(6, sum(irrep.dim for irrep in inputs), 3, generator=source, dtype=torch.float64)
    y = torch.randn(3, (l_max + 1) ** 2, 3, generator=source, dtype=torch.float64)

    mine, harmonics, theirs = blocks(inputs), blocks(NATURAL[: l_max + 1]), blocks(outputs)
    expected = torch.zeros(6, sum(irrep.dim for irrep in outputs), 3, dtype=torch.float64)
    paths = [
        (first, second, target)
        for target in outputs
        for first in inputs
        for second in NATURAL[: l_max + 1]
        if first.parity * second.parity == target.parity and abs(first.l - second.l) <= target.l <= first.l + second.l
    ]
    for (first, second, target), weight in zip(paths, contraction.weight.detach(), strict=True):
        w3j = sqrt(2 * target.l + 1) * wigner_3j(first.l, second.l, target.l)
        product = torch.einsum("ijk,eiu,eju->eku", w3j, x[:, mine[first]], y[centre][:, harmonics[second]])
        expected[:, theirs[target]] += weight * product
    assert coupling_paths(inputs, l_max, outputs) == paths
    close(contraction(x, y, centre), expected, 1e-12)


def test_one_weight_per_path_and_channel_or_one_for_all_channels() -> None:
    shapes = [
        tuple(Contraction(NATURAL[:2], 1, NATURAL[:2], 5, coupled, torch.float32, torch.Generator()).weight.shape)
        for coupled in (True, False)
    ]
    assert shapes == [(4, 5), (4, 1)]
