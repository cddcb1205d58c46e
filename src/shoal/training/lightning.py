"""Lightning's loop, kept to itself: no chatter, and no global state changed when it ends."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import torch

from shoal.errors import MissingDependencyError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


@contextmanager
def contained() -> Iterator[None]:
    """Import and use Lightning in here: warnings filters, loggers, signal handlers, grad mode come back as they were.

    Raises MissingDependencyError without Lightning.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if in_main else {}
    grad = torch.is_grad_enabled()
    with warnings.catch_warnings():
        try:
            import_module("lightning.pytorch")
        except ImportError as error:
            raise MissingDependencyError("training needs lightning: pip install 'shoal[train]'") from error
        loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=r"lightning\b")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            torch.set_grad_enabled(grad)


def fit(module: LightningModule, device: str, gradient_clip: float | None) -> None:
    """Train until the module says stop, in this process, on one device.

    KeyboardInterrupt passes through; SIGTERM ends the training at the next batch, with its checkpoint written.
    """
    from lightning.pytorch import Trainer
    from lightning.pytorch.plugins.environments import LightningEnvironment
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=-1,
        gradient_clip_val=gradient_clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[LightningEnvironment()],  # also under a job scheduler: one process
    )
    try:
        trainer.fit(module)
    except SIGTERMException:
        return
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
