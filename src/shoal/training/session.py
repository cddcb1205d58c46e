"""All that changes while a model is trained, and how it goes into a checkpoint and comes back."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import cos, pi
from typing import Any

import torch

import shoal
from shoal.architectures import AtomicEnergyModel
from shoal.errors import CompileError, ShoalWarning
from shoal.files.checkpoint import SCHEMA
from shoal.nn import Convolution
from shoal.training.average import MovingAverage
from shoal.training.batches import Batches
from shoal.training.checkpoints import found
from shoal.training.compiled import CompiledPredict
from shoal.training.config import TrainConfig, TrainingConfig
from shoal.training.form import Form
from shoal.training.losses import Errors, Loss
from shoal.training.predict import Predict, predict

NOT_NATIVE = "convolutions are not native, training goes on with the reference"
MANY_STEPS = 5000
MUCH_TIME = 600.0
"""Steps and seconds from which compiling pays for itself."""


@dataclass
class Clock:
    """`batch` batches of epoch `epoch` (from 0) are done, `step` optimizer steps in all, in `seconds` of training."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0


@dataclass
class Best:
    """The epoch (from 0) with the smallest validation loss, and its errors."""

    loss: float = float("inf")
    epoch: int = -1
    metrics: dict[str, float] = field(default_factory=dict)


class Session:
    """A model in training. `facts` are the parts of its checkpoints that do not change."""

    def __init__(
        self,
        config: TrainConfig,
        model: AtomicEnergyModel,
        loss: Loss,
        train: Batches,
        val: Batches,
        facts: Mapping[str, Any],
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.model, self.loss, self.train, self.val = config, model, loss, train, val
        self.facts = facts
        self.average = MovingAverage(model, config.training.ema_decay)
        self.clock, self.best, self.errors = Clock(), Best(), Errors()
        self.history: list[dict[str, float]] = []
        self.validation: dict[str, float] = {}
        self.optimizer: torch.optim.Optimizer
        self.schedule: torch.optim.lr_scheduler.LRScheduler | None
        self.predict: Predict = partial(predict, model)
        self.form, self.compiled = Form(), False
        self._resumed = resumed
        if resumed is not None:
            self._restore(resumed)
        self.plan = train.plan(self.clock.epoch)
        self._before, self._started, self._first = self.clock.seconds, time.monotonic(), self.fraction

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def take_form(self, device: torch.device) -> None:
        """Bring the model into the form it is trained in, by the settings, a resumed run, or what is worth it.

        Where kernels cannot be had it is the reference, with a ShoalWarning that says why.
        """
        settings, architecture = self.config.training, str(self.facts["architecture"])
        native = device.type == "cpu" and (self._worth_compiling(device) or self._compiles(device))
        convolution = self._settled(settings.convolution, "convolution", "native" if native else "reference")
        if convolution == "native" and not any(isinstance(part, Convolution) for part in self.model.modules()):
            if settings.convolution == "native":
                _warn(NOT_NATIVE, f"the architecture {architecture} has no convolution")
            convolution = "reference"
        self.form = Form(convolution, settings.radial_table)
        try:
            self.model = self.form.of(self.model, architecture, device)
        except CompileError as error:
            _warn(NOT_NATIVE, error)
            self.form = replace(self.form, convolution="reference")
            self.model = self.form.of(self.model, architecture, device)
        self.predict = partial(predict, self.model)

    def compile(self, device: torch.device) -> None:
        """Compile what each step computes, if the settings or the run that is resumed say so, or if it is worth it.

        Where that fails the steps stay as they are, with a ShoalWarning that says why.
        """
        if not self._compiles(device):
            return
        try:
            self.predict = CompiledPredict(self.model, str(self.facts["architecture"]), device, self.form)
        except Exception as error:
            _warn("the training step was not compiled, training goes on without", error)
        else:
            self.compiled = True

    def _compiles(self, device: torch.device) -> bool:
        return bool(self._settled(self.config.training.compile, "compiled", self._worth_compiling(device)))

    def _settled(self, wanted: Any, key: str, worth: Any) -> Any:
        """A setting; where it is auto, what the run that is resumed had, or else what is worth it."""
        if wanted != "auto":
            return wanted
        return worth if self._resumed is None else found(self._resumed, key)

    def _worth_compiling(self, device: torch.device) -> bool:
        """Whether the steps to come will win back the minute that compiling takes on a CPU."""
        steps = (self.config.training.max_epochs - self.clock.epoch) * len(self.plan)
        return device.type == "cpu" and steps >= MANY_STEPS and self.time_left >= MUCH_TIME

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def start(self) -> torch.optim.Optimizer:
        """Make the optimizer, once the model is on its device."""
        settings = self.config.training
        self.average.to(self.device)
        self.optimizer = _optimizer(settings, self.model)
        self.schedule = _schedule(settings, self.optimizer, self.clock)
        if self._resumed is not None:
            self.optimizer.load_state_dict(self._resumed["training"]["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(self._resumed["training"]["schedule"])
            self._resumed = None
        return self.optimizer

    @property
    def fraction(self) -> float:
        """Of all epochs, done."""
        return (self.clock.epoch + self.clock.batch / len(self.plan)) / self.config.training.max_epochs

    @property
    def time_left(self) -> float:
        """Seconds until the time limit: of this run, or where the learning rate follows the time, of all runs."""
        settings = self.config.training
        spent = self.clock.seconds if settings.schedule.over == "time" else self.run_time
        return float("inf") if settings.max_time is None else max(0.0, settings.max_time - spent)

    @property
    def remaining(self) -> float:
        """Seconds until the last epoch, by the pace so far, or the time limit."""
        done = self.fraction - self._first
        left = self.run_time / done * (1 - self.fraction) if done > 0 else float("inf")
        return min(left, self.time_left)

    def next_epoch(self) -> None:
        """Turn to the first batch of the next epoch."""
        self.clock.epoch, self.clock.batch = self.clock.epoch + 1, 0
        self.plan = self.train.plan(self.clock.epoch)
        self.errors = Errors()

    def tick(self) -> None:
        """Set the seconds of training, those before a resume included."""
        self.clock.seconds = self._before + self.run_time

    @property
    def run_time(self) -> float:
        """Seconds since this run began or was resumed."""
        return time.monotonic() - self._started

    def checkpoint(self) -> dict[str, Any]:
        """The dictionary of `shoal.files.checkpoint`."""
        return {
            "shoal_checkpoint": SCHEMA,
            **self.facts,
            "weights": _on_host(self.model.state_dict()),
            "averaged_weights": _on_host(self.average.state_dict(self.model)),
            "provenance": {
                **self.facts["provenance"],
                "shoal_version": shoal.__version__,
                "torch_version": str(torch.__version__),
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
                "epochs": self.clock.epoch,
                "steps": self.clock.step,
                "validation": dict(self.validation),
            },
            "training": {
                "clock": asdict(self.clock),
                "best": asdict(self.best),
                "history": [dict(row) for row in self.history],
                "errors": self.errors.as_lists(),
                "average_updates": self.average.updates,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict() if self.schedule is not None else {},
                "threads": torch.get_num_threads(),
                "compiled": self.compiled,
                "convolution": self.form.convolution,
            },
        }

    def _restore(self, raw: Mapping[str, Any]) -> None:
        state = raw["training"]
        self.model.load_state_dict(raw["weights"])
        self.average.load(raw["averaged_weights"], state["average_updates"])
        self.clock, self.best = Clock(**state["clock"]), Best(**state["best"])
        self.history = [dict(row) for row in state["history"]]
        self.validation = dict(raw["provenance"]["validation"])
        self.errors = Errors(state["errors"])


def _warn(what: str, why: Exception | str) -> None:
    reason = str(why).strip().splitlines()[0] if str(why).strip() else type(why).__name__
    warnings.warn(f"{what}: {reason}", ShoalWarning, stacklevel=3)


def _optimizer(settings: TrainingConfig, model: AtomicEnergyModel) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    # scales, shifts and basis orders are physical numbers: nothing pulls them to zero
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    physical = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}]
    if physical:
        groups.append({"params": physical, "weight_decay": 0.0})
    return kind(groups, lr=settings.learning_rate, fused=True)


def _schedule(
    settings: TrainingConfig, optimizer: torch.optim.Optimizer, clock: Clock
) -> torch.optim.lr_scheduler.LRScheduler | None:
    from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau

    schedule = settings.schedule
    if schedule.name == "plateau":
        return ReduceLROnPlateau(
            optimizer, factor=schedule.factor, patience=schedule.patience, min_lr=schedule.min_learning_rate
        )
    if schedule.over == "time" and settings.max_time is not None:
        limit, end = settings.max_time, schedule.min_learning_rate / settings.learning_rate
        return LambdaLR(optimizer, lambda _: end + (1 - end) * (1 + cos(pi * min(1.0, clock.seconds / limit))) / 2)
    if schedule.name == "cosine":
        return CosineAnnealingLR(optimizer, settings.max_epochs, eta_min=schedule.min_learning_rate)
    return None


def _on_host(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
