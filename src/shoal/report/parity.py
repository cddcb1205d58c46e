"""Parity plots: predictions over labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shoal.errors import MissingDependencyError


def save_parity_plot(
    path: str | Path, panels: Mapping[str, tuple[np.ndarray, np.ndarray]], titles: Mapping[str, str] | None = None
) -> None:
    """Write a PNG with one panel for each name: (labels, predictions), flat, of one unit, not empty; and the diagonal.

    `titles`: what to write above a panel. Raises MissingDependencyError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("parity plots need matplotlib: pip install 'shoal[report]'") from error
    figure = Figure(figsize=(4.2 * len(panels), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, (labels, predictions)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        both = np.concatenate([labels, predictions])
        ends = [both.min(), both.max()]
        axes.plot(ends, ends, color="0.6", linewidth=1, zorder=0)
        axes.plot(labels, predictions, ".", markersize=3, alpha=0.5, rasterized=True)
        axes.set_xlabel(f"label: {name}")
        axes.set_ylabel(f"model: {name}")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title((titles or {}).get(name, ""), fontsize="small")
    figure.savefig(path, dpi=150)
