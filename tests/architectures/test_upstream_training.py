"""From nequip's initial weights, on the same frames in the same order, training goes as nequip's does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.architectures.test_upstream import run_upstream
from tests.architectures.upstream_training import BATCH_SIZE, LEARNING_RATE, LOSS_WEIGHTS, N_STEPS, SETTINGS, frames

from shoal.architectures import NequIP, NequIPConfig
from shoal.integrations.nequip.weights import to_ours
from shoal.io import LabelKeys
from shoal.state import TypeMap
from shoal.training.batches import Batches
from shoal.training.config import TrainConfig
from shoal.training.losses import Loss, residuals
from shoal.training.predict import predict
from shoal.training.samples import make_samples
from shoal.training.session import Session

REFERENCE = json.loads(Path(__file__).with_name("upstream_training.json").read_text())


def our_losses(initial: dict[str, Any]) -> list[float]:
    """With the pieces that `shoal train` is made of."""
    model = NequIP(NequIPConfig(**SETTINGS))
    flat = {name: torch.tensor(values, dtype=torch.float64) for name, values in initial.items()}
    model.load_state_dict(to_ours(flat, model.config))
    config = TrainConfig.model_validate(
        {
            "output": "unused",
            "type_names": SETTINGS["type_names"],
            "data": {"path": "unused", "batch_size": BATCH_SIZE},
            "model": {name: value for name, value in SETTINGS.items() if name != "type_names"},
            "training": {"learning_rate": LEARNING_RATE, "loss": LOSS_WEIGHTS},
        }
    )
    samples = make_samples(frames(), TypeMap(("Si",), {"Si": "Si"}), SETTINGS["cutoff"], LabelKeys())
    batches = Batches(samples, config.data.batch_size)
    labels = {"energy": BATCH_SIZE, "forces": 3 * 8 * BATCH_SIZE, "stress": 9 * BATCH_SIZE}
    loss = Loss(config.training.loss, labels)
    session = Session(config, model, loss, train=batches, val=batches, facts={})
    optimizer = session.start()
    losses = []
    for step in range(N_STEPS):
        batch = batches.collate(session.plan[step % len(session.plan)])
        value = session.loss(residuals(predict(model, batch, create_graph=True), batch))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def test_the_first_fifty_losses_are_nequips() -> None:
    expected = REFERENCE["losses"]
    assert REFERENCE["settings"] == SETTINGS
    assert len(expected) == N_STEPS
    assert min(expected[-3:]) < 0.5 * max(expected[:3]), "it learns"
    assert our_losses(REFERENCE["initial"]) == pytest.approx(expected, rel=1e-8, abs=0)


@pytest.mark.peer
def test_the_reference_is_what_nequip_says() -> None:
    fresh = run_upstream("upstream_training")
    assert fresh["nequip"] == REFERENCE["nequip"]
    assert fresh["initial"] == REFERENCE["initial"]
    assert fresh["losses"] == pytest.approx(REFERENCE["losses"], rel=1e-9, abs=0)
