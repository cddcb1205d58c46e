"""The shipped frames are split fairly, whole, and into files that say the same."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from shoal.demo.data_files import Data, prepare, shipped
from shoal.io import read
from shoal.training import load_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return prepare(tmp_path_factory.mktemp("demo"))


def test_every_frame_is_trained_on_or_held_out_and_none_is_both(data: Data) -> None:
    parts = [atoms.get_potential_energy() for atoms in data.train + data.validation]
    assert sorted(parts) == sorted(atoms.get_potential_energy() for atoms in shipped("silicon.xyz"))
    assert len(set(parts)) == len(parts) == 120
    assert (len(data.train), len(data.validation), len(data.volumes)) == (100, 20, 30)


def test_each_family_is_held_out_in_its_share(data: Data) -> None:
    held = Counter(atoms.info["config_type"] for atoms in data.validation)
    every = Counter(atoms.info["config_type"] for atoms in data.train + data.validation)
    assert set(held) == set(every)
    assert all(abs(held[family] - every[family] / 6) <= 3 for family in every)


def test_the_files_hold_the_frames_with_their_labels(data: Data) -> None:
    for path, frames in ((data.train_file, data.train), (data.validation_file, data.validation)):
        for written, atoms in zip(read(path), frames, strict=True):
            np.testing.assert_allclose(written.positions, atoms.positions, atol=1e-8)
            np.testing.assert_allclose(written.get_forces(), atoms.get_forces(), atol=1e-8)
            np.testing.assert_allclose(written.get_stress(), atoms.get_stress(), atol=1e-10)
            assert written.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_the_configuration_names_those_files_and_ends_with_the_time(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.train_file.parents[1])
    config = load_config(Path(str(files("shoal.demo") / "silicon.yaml")))
    for paths, file in ((config.data.train, data.train_file), (config.data.val, data.validation_file)):
        assert paths is not None
        assert [Path(path).resolve() for path in paths] == [file.resolve()]
    assert config.training.schedule.over == "time"
    assert config.training.max_time == 120
