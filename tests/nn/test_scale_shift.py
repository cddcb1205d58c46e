"""Energy scale and shift act per type, in float64."""

import pytest
import torch

from shoal.errors import InputError
from shoal.nn import ScaleShift

TYPES = torch.tensor([0, 1, 1, 2])


def test_each_type_has_its_own() -> None:
    module = ScaleShift(3, False, False)
    module.set([2.0, 3.0, 4.0], torch.tensor([-1.0, -2.0, -3.0]))
    energies = module(torch.tensor([1.0, 10.0, 0.0, 0.5]), TYPES)
    assert energies.tolist() == [1.0, 28.0, -2.0, -1.0]


def test_large_reference_energies_keep_the_digits_of_float32_differences() -> None:
    module = ScaleShift(1, False, False)
    module.set(1.0, -20_000.0)
    small = torch.tensor([1e-4, 3e-4], dtype=torch.float32)
    energies = module(small, torch.zeros(2, dtype=torch.int64))
    assert energies.dtype == torch.float64
    assert (energies[1] - energies[0]).item() == pytest.approx(2e-4, rel=1e-6)


@pytest.mark.parametrize(("scales", "shifts"), [(True, False), (False, True), (True, True), (False, False)])
def test_trainable_ones_are_parameters(scales: bool, shifts: bool) -> None:
    module = ScaleShift(3, scales, shifts)
    module.set(2.0, [1.0, 2.0, 3.0])
    assert {name for name, _ in module.named_parameters()} == {
        name for name, trainable in (("scales", scales), ("shifts", shifts)) if trainable
    }
    assert module.state_dict()["scales"].tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_wrong_number_of_values_is_named(values: list) -> None:
    with pytest.raises(InputError, match="shifts have shape .* 3 types"):
        ScaleShift(3, False, False).set(1.0, values)
