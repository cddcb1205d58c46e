"""A structure in three dimensions, to turn with the mouse, its atoms coloured by a number."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import MissingDependencyError

if TYPE_CHECKING:
    from ase import Atoms

BOND = 1.2  # times the sum of the covalent radii


def structure_view(atoms: Atoms, values: np.ndarray, label: str) -> str:
    """HTML of a structure with bonds, its cell and a colour bar; scripts inside, nothing is fetched.

    `values` (N,) colours the atoms, `label` names them and their unit. Raises MissingDependencyError without plotly.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise MissingDependencyError("the 3D view needs plotly: pip install 'shoal[report]'") from error
    x, y, z = atoms.positions.T
    hover = [f"{s} {i}<br>{label} {v:.3f}" for i, (s, v) in enumerate(zip(atoms.symbols, values, strict=True))]
    marker = {
        "size": 9,
        "color": values,
        "colorscale": "YlOrRd",
        "cmin": 0,
        "colorbar": {"title": {"text": label, "side": "right"}, "thickness": 14, "len": 0.7},
        "line": {"width": 1, "color": "#5b6875"},
        "opacity": 1.0,
    }
    figure = go.Figure(
        [
            _lines(go, _cell_edges(atoms.cell.array), "#b8c2cc", 2),
            _lines(go, _bonds(atoms), "#8795a3", 5),
            go.Scatter3d(x=x, y=y, z=z, mode="markers", marker=marker, hovertext=hover, hoverinfo="text"),
        ]
    )
    hidden = {"visible": False}
    figure.update_layout(
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={
            "xaxis": hidden,
            "yaxis": hidden,
            "zaxis": hidden,
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.75, "y": 0.85, "z": 0.55}},
        },
    )
    buttons = {"displaylogo": False, "modeBarButtons": [["resetCameraDefault3d", "toImage"]]}
    html = figure.to_html(
        full_html=False, include_plotlyjs=True, include_mathjax=False, div_id="structure", config=buttons
    )
    return f'<div class="view">{html}</div>'


def _lines(go: Any, segments: np.ndarray, color: str, width: float) -> Any:
    """One trace of all segments (n, 2, 3), kept apart by gaps."""
    points = np.full((len(segments), 3, 3), np.nan)
    points[:, :2] = segments
    x, y, z = points.reshape(-1, 3).T
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line={"color": color, "width": width}, hoverinfo="skip")


def _bonds(atoms: Atoms) -> np.ndarray:
    """(n, 2, 3): ends of the bonds that do not cross the cell's faces."""
    from ase.neighborlist import natural_cutoffs, neighbor_list

    i, j, shift = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=BOND))
    inside = (i < j) & ~shift.any(axis=1)
    return atoms.positions[np.stack([i[inside], j[inside]], axis=1)]


def _cell_edges(cell: np.ndarray) -> np.ndarray:
    """(12, 2, 3): the edges of the parallelepiped; cell rows are the lattice vectors."""
    corners = [np.array(corner) for corner in product((0.0, 1.0), repeat=3)]
    pairs = [(a, b) for a in corners for b in corners if (b - a).sum() == 1 and ((b - a) >= 0).all()]
    return np.array([[a @ cell, b @ cell] for a, b in pairs])
