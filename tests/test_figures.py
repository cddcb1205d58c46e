"""Figures show the numbers they are given, and leave pyplot alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from shoal.figures import equation_of_state, learning_curve, parity, png, save, throughput

HISTORY = [
    {"epoch": k, "learning_rate": 0.01 / k, "train_forces_rmse": 90.0 / k, "val_forces_rmse": 100.0 / k}
    for k in (1, 2, 3)
]


def test_a_learning_curve_draws_every_epoch_of_both_parts() -> None:
    forces, rate = learning_curve(HISTORY).axes
    lines = {line.get_label(): line.get_xydata() for line in forces.get_lines()}
    np.testing.assert_allclose(lines["training"], [[1, 90], [2, 45], [3, 30]])
    np.testing.assert_allclose(lines["validation"], [[1, 100], [2, 50], [3, 100 / 3]])
    np.testing.assert_allclose(rate.get_lines()[0].get_ydata(), [0.01, 0.005, 0.01 / 3])


def test_throughput_draws_every_batch_and_shares_of_a_hundred() -> None:
    times = [(8.0, 7.0, 9.0), (4.0, 3.0, 5.0), (3.9, 3.5, 4.0)]
    steps = {"evaluation": {"list": 1.0, "model": 3.0}, "NVE": {"model": 3.0, "integrator": 2.0}}
    curve, bars = throughput({"crystals": ([8, 16, 32], times, 1)}, steps).axes
    line, best = curve.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [[8, 8.0], [16, 4.0], [32, 3.9]])
    np.testing.assert_allclose(best.get_xydata(), [[16, 4.0]])
    heights = {part.get_label(): [bar.get_height() for bar in part] for part in bars.containers}
    np.testing.assert_allclose(heights["list"], [25, 0])
    np.testing.assert_allclose(heights["model"], [75, 60])
    np.testing.assert_allclose(sum(map(np.array, heights.values())), 100)


def test_parity_draws_each_pair_and_states_the_errors_of_all() -> None:
    labels = np.linspace(-1, 1, 50_001)
    predictions = labels + 0.05
    (panel,) = parity({"forces": (labels, predictions), "stress": (np.zeros(0), np.zeros(0))}).axes
    points = panel.get_lines()[0].get_xydata()
    assert 10_000 < len(points) <= 20_000
    np.testing.assert_allclose(points[:, 1] - points[:, 0], 0.05)
    assert "MAE 50\nRMSE 50 meV/Å" in [text.get_text() for text in panel.texts]


def test_an_equation_of_state_draws_points_and_fit_of_each_curve_in_mev() -> None:
    volumes = np.array([19.0, 20.0, 21.0])
    curves = {name: (volumes, k * volumes, lambda v, k=k: k * v) for k, name in enumerate(("labels", "model"), 1)}
    (panel,) = equation_of_state(curves).axes
    for k, name in enumerate(curves, 1):
        fit, points = panel.get_lines()[2 * k - 2 : 2 * k]
        assert points.get_label() == name
        np.testing.assert_allclose(points.get_xydata(), np.stack([volumes, 1000 * k * volumes], axis=1))
        np.testing.assert_allclose(fit.get_ydata(), 1000 * k * fit.get_xdata())
        assert (fit.get_xdata()[0], fit.get_xdata()[-1]) == (19, 21)


def test_one_value_and_no_value_can_be_drawn() -> None:
    assert png(parity({"energy": (np.array([-1.0]), np.array([-1.0]))})).startswith(b"\x89PNG")
    assert png(parity({})).startswith(b"\x89PNG")


def test_figures_are_saved_without_pyplot(tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    path = save(learning_curve(HISTORY), tmp_path / "curve.png")
    assert path.read_bytes() == png(learning_curve(HISTORY))
    assert ("matplotlib.pyplot" in sys.modules) == before
