"""Linear maps and self-connection carry e3nn's normalisation."""

from typing import Any

import pytest
import torch
from e3nn import o3

from shoal.nn import SCALAR, Channels, Features, Irrep, IrrepsLinear, SelfConnection
from shoal.testing import close

SCALAR_ODD, VECTOR, TENSOR = Irrep(0, -1), Irrep(1, -1), Irrep(2, 1)
INPUTS: Channels = {SCALAR: 5, VECTOR: 3, TENSOR: 2}
OUTPUTS: Channels = {SCALAR: 7, SCALAR_ODD: 2, VECTOR: 4}
N_ATOMS = 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_features(channels: Channels) -> Features:
    source = generator(9)
    return {
        ir: torch.randn(N_ATOMS, ir.dim, count, generator=source, dtype=torch.float64) for ir, count in channels.items()
    }


def flat(features: Features) -> torch.Tensor:
    """e3nn's layout: irreps side by side, channels before components."""
    return torch.cat([x.mT.flatten(1) for x in features.values()], dim=1)


def e3nn_irreps(channels: Channels) -> str:
    return "+".join(f"{count}x{irrep}" for irrep, count in channels.items())


def test_linear_is_e3nns(in_float64: Any) -> None:
    ours = IrrepsLinear(INPUTS, OUTPUTS, torch.float64, generator())
    with in_float64():
        theirs = o3.Linear(e3nn_irreps(INPUTS), e3nn_irreps(OUTPUTS))
    theirs.weight.data = torch.cat([ours.weight[str(ir)].detach().flatten() for ir in (SCALAR, VECTOR)])
    out = ours(random_features(INPUTS))
    assert list(out) == [SCALAR, VECTOR], "an irrep without a source has no output"
    expected = theirs(flat(random_features(INPUTS)))
    close(out[SCALAR].flatten(1), expected[:, :7], 1e-13)
    close(out[VECTOR].mT.flatten(1), expected[:, 9:], 1e-13)


def test_linear_scale() -> None:
    plain = IrrepsLinear(INPUTS, OUTPUTS, torch.float64, generator())
    scaled = IrrepsLinear(INPUTS, OUTPUTS, torch.float64, generator(), scale=0.25)
    x = random_features(INPUTS)
    for irrep, values in scaled(x).items():
        close(values, 0.25 * plain(x)[irrep], 1e-14)


@pytest.mark.parametrize(("n_types", "embedding_size"), [(1, 4), (3, 4), (4, 4), (6, 4), (3, 1)])
def test_self_connection_is_the_fully_connected_product_with_the_embedding(
    n_types: int, embedding_size: int, in_float64: Any
) -> None:
    ours = SelfConnection(INPUTS, OUTPUTS, n_types, embedding_size, torch.float64, generator())
    embedding = torch.randn(n_types, embedding_size, generator=generator(1), dtype=torch.float64)
    types = torch.arange(N_ATOMS) % n_types
    with in_float64():
        theirs = o3.FullyConnectedTensorProduct(
            e3nn_irreps(INPUTS), f"{embedding_size}x0e", e3nn_irreps({SCALAR: 7, VECTOR: 4})
        )
    theirs.weight.data = torch.cat([ours.weight[str(ir)].detach().flatten() for ir in (SCALAR, VECTOR)])
    out = ours(random_features(INPUTS), embedding, types)
    close(flat(out), theirs(flat(random_features(INPUTS)), embedding[types]), 1e-12)


def test_initial_weights_have_unit_variance() -> None:
    wide = {SCALAR: 200}
    linear = IrrepsLinear(wide, wide, torch.float64, generator())
    weights = linear.weight["0e"]
    assert weights.mean().item() == pytest.approx(0, abs=0.02)
    assert weights.std().item() == pytest.approx(1, abs=0.02)
