"""The moving average follows its law, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shoal.training.average import MovingAverage


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_follows_its_recursion(decay: float) -> None:
    model = nn.Linear(3, 2, dtype=torch.float64)
    average = MovingAverage(model, decay)
    weight, bias = model.weight.detach().numpy().copy(), model.bias.detach().numpy().copy()
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        new_weight, new_bias = rng.normal(size=(2, 3)), rng.normal(size=2)
        with torch.no_grad():
            model.weight.copy_(torch.tensor(new_weight))
            model.bias.copy_(torch.tensor(new_bias))
        average.update(model)
        d = min(decay, (1 + n) / (10 + n))
        weight, bias = d * weight + (1 - d) * new_weight, d * bias + (1 - d) * new_bias
        np.testing.assert_allclose(average.parameters["weight"], weight, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(average.parameters["bias"], bias, rtol=1e-12, atol=1e-15)


def test_a_long_average_of_constant_weights_is_those_weights() -> None:
    model = nn.Linear(2, 2)
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(3.0)
    for _ in range(300):
        average.update(model)
    torch.testing.assert_close(average.parameters["weight"], torch.full((2, 2), 3.0))


def test_the_state_is_the_models_own_but_for_its_parameters() -> None:
    model = nn.BatchNorm1d(2)
    average = MovingAverage(model, 0.9)
    model.running_mean += 5.0
    with torch.no_grad():
        model.weight.zero_()
    state = average.state_dict(model)
    assert set(state) == set(model.state_dict())
    assert state["running_mean"].tolist() == [5.0, 5.0]
    assert state["weight"].tolist() == [1.0, 1.0]
