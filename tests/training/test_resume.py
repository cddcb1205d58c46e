"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch
from ase import Atoms

from shoal.atomic import TEMPORARY
from shoal.errors import ConfigError, DataError, ModelFileError, ShoalWarning
from shoal.files import read_checkpoint
from shoal.training import TrainingProgress, train
from shoal.training.session import Session

Config = Callable[..., dict[str, Any]]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ; seconds, times of writing and paths do not count."""
    if path.endswith(("seconds", ".written", ".output", ".resume", ".max_time", ".max_epochs", ".patience")):
        return []
    if isinstance(a, dict):
        keys = [] if a.keys() == b.keys() else [f"{path}: {a.keys() ^ b.keys()}"]
        return keys + [d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple):
        length = [] if len(a) == len(b) else [f"{path}: {len(a)} and {len(b)} entries"]
        return length + [
            d for k, (x, y) in enumerate(zip(a, b, strict=False)) for d in differences(x, y, f"{path}.{k}")
        ]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [path]


def same_in_the_end(one: Path, other: Path) -> list[str]:
    return [
        f"{name}{difference}"
        for name in ("last.ckpt", "best.ckpt")
        for difference in differences(dict(read_checkpoint(one / name).raw), dict(read_checkpoint(other / name).raw))
    ]


VARIANTS = [
    {"schedule": {"name": "plateau", "patience": 0, "factor": 0.5}},
    {"schedule": "cosine", "optimizer": "adamw", "weight_decay": 0.01},
    {"schedule": "none", "gradient_clip": 0.5, "ema_decay": 0.9},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=["plateau", "cosine", "none"])
def test_stopped_within_an_epoch_and_resumed_equals_uninterrupted(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    through = train(tiny_config("through", max_epochs=4, **settings))
    monkeypatch.setattr(Session, "run_time", property(lambda self: float(self.clock.step)))
    stopped = train(tiny_config("parts", max_epochs=4, max_time=7.0, **settings))
    assert stopped.stopped_by == "max_time"
    clock = read_checkpoint(stopped.last).raw["training"]["clock"]
    assert (clock["epoch"], clock["batch"], clock["step"]) == (1, 2, 7)
    monkeypatch.undo()
    resumed = train(tiny_config("parts", max_epochs=4, **settings), resume=True)
    assert same_in_the_end(through.output, resumed.output) == []
    assert through.metrics == resumed.metrics
    assert differences(through.history, resumed.history) == []


def test_resumed_after_an_epoch_by_an_override_and_in_another_folder(tiny_config: Config) -> None:
    through = train(tiny_config("through", max_epochs=3))
    first = train(tiny_config("first", max_epochs=1))
    resumed = train(tiny_config("second", max_epochs=3), [f"resume={first.last}"])
    assert same_in_the_end(through.output, resumed.output) == []
    rows = (resumed.output / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


def test_a_termination_signal_ends_at_the_next_batch_and_loses_nothing(tiny_config: Config) -> None:
    def terminate(now: TrainingProgress) -> None:
        if now.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopped = train(tiny_config("parts", max_epochs=2, progress=True), progress=terminate)
    assert stopped.stopped_by == "signal"
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = train(tiny_config("parts", max_epochs=2, progress=True), resume=True, progress=False)
    through = train(tiny_config("through", max_epochs=2, progress=True), progress=False)
    assert same_in_the_end(through.output, resumed.output) == []


def test_an_interrupt_passes_through_and_leaves_whole_files(tiny_config: Config) -> None:
    def interrupt(now: TrainingProgress) -> None:
        if now.step == 7:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(max_epochs=3, progress=True), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) == before
    config = tiny_config(max_epochs=3)
    assert read_checkpoint(Path(config["output"]) / "last.ckpt").raw["training"]["clock"]["epoch"] == 1
    assert len(train(config, resume=True).history) == 3


def test_a_failing_disk_leaves_the_last_checkpoint_whole(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    done = train(tiny_config(max_epochs=1))
    before = done.last.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(tiny_config(max_epochs=2), resume=True)
    assert done.last.read_bytes() == before
    assert [path.name for path in done.output.iterdir() if path.name.startswith(TEMPORARY)] == []


def test_other_settings_are_refused_by_name(tiny_config: Config) -> None:
    train(tiny_config(max_epochs=1))
    with pytest.raises(ConfigError, match=r"training\.learning_rate is 0\.02, was 0\.01; training\.seed is 3, was 0"):
        train(tiny_config(max_epochs=2, learning_rate=0.02, seed=3), resume=True)


@pytest.mark.parametrize("named", [{}, {"compile": False, "convolution": "reference"}], ids=["auto", "by name"])
@pytest.mark.parametrize("old", [True, False], ids=["before there were such settings", "now"])
def test_a_run_goes_on_in_the_form_it_had(tiny_config: Config, old: bool, named: dict[str, Any]) -> None:
    through = train(tiny_config("through", max_epochs=2))
    first = train(tiny_config("parts", max_epochs=1))
    if old:
        raw = torch.load(first.last, weights_only=True)
        for setting in ("compile", "convolution", "radial_table"):
            del raw["config"]["training"][setting]
        for key in ("compiled", "convolution"):
            del raw["training"][key]
        torch.save(raw, first.last)
    with pytest.raises(ConfigError, match=r"settings: training\.convolution is 'native', was 'auto'$"):
        train(tiny_config("parts", max_epochs=2, convolution="native"), resume=True)
    resumed = train(tiny_config("parts", max_epochs=2, **named), resume=True)
    asked = {f"{file}.ckpt.config.training.{name}" for file in ("last", "best") for name in named}
    assert set(same_in_the_end(through.output, resumed.output)) <= asked


def test_a_cosine_cannot_be_stretched(tiny_config: Config) -> None:
    train(tiny_config(max_epochs=1, schedule="cosine"))
    with pytest.raises(ConfigError, match=r"training\.max_epochs is 2, was 1"):
        train(tiny_config(max_epochs=2, schedule="cosine"), resume=True)


def test_other_data_are_refused(tiny_config: Config, argon: Callable[..., Atoms], tmp_path: Path) -> None:
    train(tiny_config(max_epochs=1))
    other = tiny_config(max_epochs=2)
    other["data"]["path"] = str(tmp_path / "other.xyz")
    ase.io.write(other["data"]["path"], [argon(seed) for seed in range(50, 78)])
    with pytest.raises(DataError, match="cannot be resumed on other data"):
        train(other, resume=True)


def test_another_thread_count_is_warned_of(tiny_config: Config) -> None:
    done = train(tiny_config(max_epochs=1))
    raw = torch.load(done.last, weights_only=True)
    raw["training"]["threads"] += 1
    torch.save(raw, done.last)
    with pytest.warns(ShoalWarning, match="not bit for bit"):
        train(tiny_config(max_epochs=2), resume=True)


def test_an_earlier_training_is_not_overwritten_by_accident(tiny_config: Config) -> None:
    train(tiny_config(max_epochs=1))
    with pytest.raises(ConfigError, match=r"already holds a training: --resume .* goes on with it"):
        train(tiny_config(max_epochs=1))
    assert len(train(tiny_config(max_epochs=1), ["overwrite=true"]).history) == 1


def test_resuming_from_nothing_is_an_error(tiny_config: Config) -> None:
    with pytest.raises(ModelFileError, match=r"last\.ckpt: no such file"):
        train(tiny_config(), resume=True)


def test_a_learning_rate_over_the_time_ends_with_it_across_a_resume(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of one second a step: 20 s are 4 epochs of 5 steps, whether or not the run was stopped between."""
    first = [0]
    monkeypatch.setattr(Session, "run_time", property(lambda self: float(self.clock.step - first[0])))
    schedule = {"name": "cosine", "over": "time", "min_learning_rate": 1e-4}

    def settings(max_epochs: int) -> dict[str, Any]:
        return tiny_config(max_epochs=max_epochs, max_time=20.0, schedule=schedule)

    assert train(settings(2)).stopped_by == "max_epochs"
    first[0] = 10
    result = train(settings(100), resume=True)
    assert result.stopped_by == "max_time"
    assert [row["step"] for row in result.history] == [5, 10, 15, 20]
    expected = [1e-4 + (1e-2 - 1e-4) * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert [row["learning_rate"] for row in result.history] == pytest.approx(expected)
