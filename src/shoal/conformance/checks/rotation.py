"""Values turn with the structure."""

from __future__ import annotations

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.tally import Tally


def _run(lab: Lab, tally: Tally) -> None:
    rotation = _rotation((1.0, -2.0, 0.7), 1.1)
    for name, atoms, here in lab.each():
        for what, turn in (("turned", rotation), ("turned and inverted", -rotation)):
            turned = atoms.copy()
            turned.positions = atoms.positions @ turn
            turned.cell[:] = atoms.cell.array @ turn
            there = lab.subject.evaluate([turned])[0]
            lab.unchanged(tally, f"{name} {what}", atoms, there, here, lab.tolerance("equivariance"), turn)


def _rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """(3, 3), by Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


CHECK = Check(
    number=10,
    name="rotation and inversion",
    law="Turning or mirroring a system turns its forces and virial with it and leaves its energy.",
    meaning="Results depend on how a structure lies in space; molecules in MD get torques from nowhere.",
    run=_run,
)
