"""The course of a training: what happens at each batch and each epoch, run by Lightning's loop."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import torch
from lightning.pytorch import LightningModule

from shoal.errors import ShoalError
from shoal.training.batches import Batch
from shoal.training.checkpoints import BEST, LAST, write_checkpoint
from shoal.training.logs import Logs
from shoal.training.losses import residuals
from shoal.training.predict import evaluate
from shoal.training.progress import Report, TrainingProgress
from shoal.training.session import Best, Session


class TrainingModule(LightningModule):
    """A session in Lightning's hooks. The session knows where it is, so that Lightning's own counters do not matter."""

    def __init__(self, session: Session, output: Path, report: Report, logs: Logs) -> None:
        super().__init__()
        self.model = session.model
        self.session, self.output, self.report, self.logs = session, output, report, logs
        self.stopped_by = "max_epochs"

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.session.start()

    def train_dataloader(self) -> _Epochs:
        return _Epochs(self.session)

    def training_step(self, batch: Batch) -> torch.Tensor:
        residual = residuals(self.session.predict(batch, create_graph=True), batch)
        self.session.errors.add(residual)
        return self.session.loss(residual)

    def on_train_batch_end(self, *_: object) -> None:
        session = self.session
        session.average.update(self.model)
        session.clock.batch += 1
        session.clock.step += 1
        session.tick()
        if self._epoch_is_done:
            return
        self._tell()
        if self._must_stop():
            write_checkpoint(session.checkpoint(), self.output / LAST)
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        if not self._epoch_is_done:  # stopped within the epoch: a resumed run ends it
            return
        session, clock = self.session, self.session.clock
        loss = self._validate()
        better = loss < session.best.loss
        if better:
            session.best = Best(loss, clock.epoch, dict(session.validation))
        self._tell()
        if isinstance(session.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            session.schedule.step(loss)
        elif session.schedule is not None:
            session.schedule.step()
        session.next_epoch()
        paths = [self.output / name for name in ((LAST, BEST) if better else (LAST,))]
        write_checkpoint(session.checkpoint(), *paths)
        patience = session.config.training.early_stopping_patience
        if patience is not None and clock.epoch - 1 - session.best.epoch >= patience:
            self.stopped_by = "early_stopping"
            self.trainer.should_stop = True
        elif clock.epoch >= session.config.training.max_epochs or self._must_stop():
            self.trainer.should_stop = True

    @property
    def _epoch_is_done(self) -> bool:
        return self.session.clock.batch >= len(self.session.plan)

    def _must_stop(self) -> bool:
        if self.trainer.received_sigterm:
            self.stopped_by = "signal"
        elif self.session.time_left == 0:
            self.stopped_by = "max_time"
        else:
            return False
        return True

    def _validate(self) -> float:
        """Errors of the averaged weights on the validation data, into the history and the logs; their loss."""
        session, clock, weights = self.session, self.session.clock, self.session.config.training.loss
        errors, _ = evaluate(session.predict, session.val, session.average.parameters, session.device)
        loss = errors.loss(weights)
        train_loss = session.errors.loss(weights)
        if not (isfinite(loss) and isfinite(train_loss)):
            raise ShoalError(
                f"training diverged in epoch {clock.epoch + 1}: the loss is {train_loss} (validation {loss}). Lower "
                "training.learning_rate or set training.gradient_clip; the last good state is in "
                f"{self.output / LAST}."
            )
        session.validation = errors.metrics()
        session.tick()
        session.history.append(
            {
                "epoch": clock.epoch + 1,
                "step": clock.step,
                "seconds": clock.seconds,
                "learning_rate": session.learning_rate,
                "train_loss": train_loss,
                "val_loss": loss,
                **{f"train_{name}": value for name, value in session.errors.metrics().items()},
                **{f"val_{name}": value for name, value in session.validation.items()},
            }
        )
        self.logs.write(session.history[-1])
        return loss

    def _tell(self) -> None:
        session, clock, settings = self.session, self.session.clock, self.session.config.training
        now = TrainingProgress(
            epoch=clock.epoch + 1,
            max_epochs=settings.max_epochs,
            batch=clock.batch,
            n_batches=len(session.plan),
            step=clock.step,
            elapsed=clock.seconds,
            remaining=session.remaining,
            learning_rate=session.learning_rate,
            validation=session.validation,
            best=session.best.metrics,
        )
        self.report(now)


class _Epochs:
    """What is left of the session's epoch, batch by batch, each time it is iterated."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __iter__(self) -> Iterator[Batch]:
        return map(self.session.train.collate, self.session.plan[self.session.clock.batch :])
