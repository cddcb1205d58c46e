"""The gate is e3nn's, constants included."""

from typing import Any

import torch
from e3nn.nn import Gate as E3nnGate

from shoal.nn import SCALAR, Channels, Features, Gate, Irrep
from shoal.testing import close

OUTPUTS: Channels = {SCALAR: 5, Irrep(0, -1): 2, Irrep(1, 1): 3, Irrep(1, -1): 4, Irrep(2, 1): 2}
N_ATOMS = 11


def features(channels: Channels) -> Features:
    source = torch.Generator().manual_seed(4)
    return {
        ir: torch.randn(N_ATOMS, ir.dim, count, generator=source, dtype=torch.float64) for ir, count in channels.items()
    }


def test_equal_e3nn(in_float64: Any) -> None:
    ours = Gate(OUTPUTS)
    x = features(ours.inputs)
    silu, tanh = torch.nn.functional.silu, torch.tanh
    with in_float64():
        theirs = E3nnGate("5x0e+2x0o", [silu, tanh], "9x0e", [silu], "3x1e+4x1o+2x2e")
    e3nn_order = [Irrep(0, -1), SCALAR, Irrep(1, -1), Irrep(1, 1), Irrep(2, 1)]
    expected = theirs(torch.cat([x[ir].mT.flatten(1) for ir in e3nn_order], dim=1))
    out = ours(x)
    assert list(out) == list(OUTPUTS)
    close(torch.cat([values.mT.flatten(1) for values in out.values()], dim=1), expected, 1e-14)


def test_inputs_add_one_scalar_per_gated_channel() -> None:
    assert Gate(OUTPUTS).inputs == {**OUTPUTS, SCALAR: 5 + 3 + 4 + 2}


def test_scalars_alone() -> None:
    gate = Gate({SCALAR: 4})
    x = features(gate.inputs)[SCALAR]
    close(gate({SCALAR: x})[SCALAR], 1.6791767923989418 * x * torch.sigmoid(x), 1e-14)
