"""Drawings of training, tests and timing: arrays in, matplotlib figures out. No global state of pyplot is touched."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"train": "#9aa5b1", "val": "#1f6fb4", "test": "#c8571b"}
AXES = {
    "energy": ("energy per atom", "eV/atom", "meV/atom"),
    "forces": ("force component", "eV/Å", "meV/Å"),
    "stress": ("stress component", "eV/Å³", "meV/Å³"),
}
PARTS_COLORS = ("#5b6b7b", COLORS["val"], COLORS["test"], "#7a9a3a")
MOST_POINTS = 20_000


def learning_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """Root mean square errors and learning rate over the epochs, from the rows of a training's history.

    A row has `epoch`, `learning_rate`, and any of `train_energy_rmse`, `val_energy_rmse` (meV/atom), `..._forces_rmse`
    (meV/A) and `..._stress_rmse` (meV/A^3).
    """
    from matplotlib.ticker import LogFormatter

    shown = [name for name in AXES if any(f"val_{name}_rmse" in row for row in history)]
    figure = _figure(3.6 * (len(shown) + 1), 3.0)
    panels = figure.subplots(1, len(shown) + 1, squeeze=False)[0]
    epochs = [row["epoch"] for row in history]
    for panel, name in zip(panels, shown, strict=False):
        for part, label in (("train", "training"), ("val", "validation")):
            values = [row.get(f"{part}_{name}_rmse", np.nan) for row in history]
            panel.plot(epochs, values, color=COLORS[part], label=label, linewidth=1.5)
        panel.set(title=AXES[name][0], ylabel=f"RMSE, {AXES[name][2]}", yscale="log")
        panel.yaxis.set_major_formatter(LogFormatter())
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))  # labelled within a decade only
    panels[0].legend(frameon=False, fontsize=8)
    panels[-1].plot(epochs, [row["learning_rate"] for row in history], color=COLORS["val"], linewidth=1.5)
    panels[-1].set(title="learning rate", yscale="log")
    for panel in panels:
        panel.set_xlabel("epoch")
        _plain(panel)
    return figure


def parity(pairs: Mapping[str, tuple[Any, Any]], color: str = COLORS["val"]) -> Figure:
    """Predictions over labels, one panel a quantity, with MAE and RMSE.

    `pairs`: labels and predictions, flat, by quantity: energy (eV/atom), forces (eV/A), stress (eV/A^3); quantities
    without values are left out. Of many points an even selection is drawn; the errors are those of all.
    """
    shown = {name: (np.asarray(a), np.asarray(b)) for name, (a, b) in pairs.items() if len(a)}
    figure = _figure(3.4 * max(len(shown), 1), 3.4)
    panels = figure.subplots(1, max(len(shown), 1), squeeze=False)[0]
    for panel, (name, (labels, predictions)) in zip(panels, shown.items(), strict=False):
        title, unit, error_unit = AXES[name]
        every = max(1, -(-len(labels) // MOST_POINTS))
        alpha, size = (0.4, 4) if len(labels) > 500 else (0.7, 8)
        drawn = labels[::every], predictions[::every]
        panel.plot(*drawn, ".", color=color, alpha=alpha, markersize=size, markeredgewidth=0)
        both = np.concatenate([labels, predictions])
        margin = 0.03 * (np.ptp(both) or 1.0)
        ends = both.min() - margin, both.max() + margin
        panel.plot(ends, ends, color="black", linewidth=0.8, zorder=1)
        error = 1000 * (predictions - labels)
        text = f"MAE {np.abs(error).mean():.3g}\nRMSE {np.sqrt(np.square(error).mean()):.3g} {error_unit}"
        panel.text(0.04, 0.96, text, transform=panel.transAxes, va="top", fontsize=8)
        panel.set(title=title, xlabel=f"label, {unit}", ylabel=f"prediction, {unit}", xlim=ends, ylim=ends)
        panel.set_aspect("equal")
        _plain(panel)
    return figure


def equation_of_state(curves: Mapping[str, tuple[Any, Any, Callable[[Any], Any]]]) -> Figure:
    """Energy over volume: per name the volumes (A^3/atom), the energies (eV/atom, drawn in meV) and their fit."""
    figure = _figure(5.6, 3.6)
    panel = figure.subplots()
    styles = zip(curves.items(), (COLORS["test"], COLORS["val"]), ("o", "x"), ("-", "--"), strict=False)
    for (name, (volumes, energies, fit)), color, marker, dashes in styles:
        fine = np.linspace(np.min(volumes), np.max(volumes), 200)
        panel.plot(fine, 1000 * fit(fine), dashes, color=color, linewidth=1.2)
        panel.plot(
            volumes, 1000 * np.asarray(energies), marker, color=color, fillstyle="none", markersize=5, label=name
        )
    panel.set(xlabel="volume per atom, Å³", ylabel="energy per atom, meV")
    panel.legend(frameon=False, fontsize=9)
    _plain(panel)
    return figure


def throughput(
    curves: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]], int]],
    steps: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Time per atom over the batch, and what a step of each kind consists of.

    `curves`: per kind of structures the atoms in a batch, its time (us/atom) as median, lower and upper quartile, and
    which batch is the best. `steps`: per kind of step the time (us/atom) of its parts.
    """
    from matplotlib.ticker import LogFormatter

    figure = _figure(9.0, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for (name, (atoms, times, best)), color in zip(curves.items(), _shades(len(curves)), strict=True):
        median, low, high = zip(*times, strict=True)
        left.fill_between(atoms, low, high, color=color, alpha=0.2, linewidth=0)
        left.plot(atoms, median, "o-", color=color, markersize=4, linewidth=1.5, label=name)
        left.plot(atoms[best], median[best], "o", color=color, fillstyle="none", markersize=10)
    left.set(xlabel="atoms in the batch", ylabel="evaluation, µs/atom", xscale="log", yscale="log")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    left.legend(frameon=False, fontsize=8, title="circle: best batch", title_fontsize=8)
    parts = list(dict.fromkeys(part for step in steps.values() for part in step))
    whole = [sum(step.values()) for step in steps.values()]
    below = np.zeros(len(steps))
    names = [name.replace(", ", ",\n") for name in steps]
    for part, color in zip(parts, PARTS_COLORS, strict=False):
        heights = np.array([100 * step.get(part, 0.0) for step in steps.values()]) / whole
        bars = right.bar(names, heights, bottom=below, color=color, label=part, width=0.6)
        labels = [f"{height:.0f} %" if height >= 5 else "" for height in heights]
        right.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        below += heights
    for place, microseconds in enumerate(whole):
        right.text(place, 101, f"{microseconds:.3g} µs/atom", ha="center", va="bottom", fontsize=8)
    right.set(ylabel="share of the time, %", ylim=(0, 112))
    right.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for panel in (left, right):
        _plain(panel)
    right.grid(False, axis="x")
    return figure


def png(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(figure: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure as PNG and return its path."""
    path.write_bytes(png(figure, dpi))
    return path


def _shades(n: int) -> list[str]:
    """Colours of curves; after the fourth they come again."""
    return [PARTS_COLORS[(k + 1) % len(PARTS_COLORS)] for k in range(n)]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(True, color="#e3e7eb", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(which="both", labelsize=8)
