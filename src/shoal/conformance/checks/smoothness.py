"""Nothing jumps where atoms part.

R places along a path, F force components.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.structures import atoms_of, radius
from shoal.conformance.tally import Tally

if TYPE_CHECKING:
    from ase import Atoms

UNKNOWN_REACH = 10.0
NARROWEST = 1e-9
N_INTERVALS = 64
ROUNDS_FOR_ALL = 7
MOST_SUSPICIOUS = 8


class Path(NamedTuple):
    """One atom, the last, moves along x: a structure for each distance, from `start` to `end` A."""

    name: str
    at: Callable[[float], Atoms]
    start: float
    end: float


def _run(lab: Lab, tally: Tally) -> None:
    lab.require("forces")
    truncation = lab.subject.truncation
    excuse = f"truncation: {truncation}" if truncation in ("none", "shift") else ""
    tolerance = lab.tolerance("jump")
    for path in _paths(lab):
        for guide in ("energy", "forces"):
            for what, (place, size) in _largest_jumps(lab, path, guide).items():
                admitted = excuse if what == "forces" or truncation == "none" else ""
                tally.add(f"{path.name} at {place:.4f} A, {what}", size, tolerance, declared=admitted)


def _paths(lab: Lab) -> list[Path]:
    """Two atoms of every pair of species, and an atom that leaves a molecule."""
    paths = []
    cutoff = lab.subject.cutoff
    end = cutoff if np.isfinite(cutoff) else UNKNOWN_REACH
    for a, b in combinations_with_replacement(lab.species, 2):
        bond = min(radius(a) + radius(b), 0.7 * end)

        def dimer(r: float, pair: tuple = (a, b)) -> Atoms:
            return atoms_of(pair, np.array([[0, 0, 0], [r, 0, 0]]))

        paths.append(Path(f"{a}-{b}", dimer, 0.8 * bond, end + 0.5))
    molecule = lab.structures["molecule"]
    probe = atoms_of(lab.species[:1], np.zeros((1, 3)))
    edge, middle = molecule.positions[:, 0].max(), molecule.positions.mean(0)

    def leaving(r: float) -> Atoms:
        moved = probe.copy()
        moved.positions[0] = (edge + r, middle[1] + 0.13, middle[2] - 0.21)
        return molecule + moved

    extent = float(np.ptp(molecule.positions[:, 0]))
    start = min(1.6 * radius(lab.species[0]), 0.6 * end)
    paths.append(Path("an atom that leaves a molecule", leaving, start, end + extent + 0.5))
    return paths[-2:] if lab.fast else paths


def _largest_jumps(lab: Lab, path: Path, guide: str) -> dict[str, tuple[float, float]]:
    """Place (A) and size of the largest jumps of "energy" and "forces", found by following that of the `guide`.

    Intervals are halved towards the larger change: in a smooth function both halves of a short interval change alike,
    so that the halving follows a jump of any size. After some rounds only the intervals are kept whose halves differ
    most. The change of the energy is that which the forces do not account for.
    """
    grid = np.linspace(path.start, path.end, N_INTERVALS + 1)
    cutoff = lab.subject.cutoff
    if path.start < cutoff - 1e-4 and cutoff + 1e-4 < path.end:
        grid = np.sort(np.append(grid, [cutoff - 1e-4, cutoff + 1e-4]))
    points = (grid, *_along(lab, path, grid))
    left, right = tuple(p[:-1] for p in points), tuple(p[1:] for p in points)
    n_rounds = 0
    while (right[0] - left[0]).max() > NARROWEST:
        middle = (left[0] + right[0]) / 2
        between = (middle, *_along(lab, path, middle))
        first, second = _changes(left, between)[guide], _changes(between, right)[guide]
        right = _chosen(first >= second, between, right)
        left = _chosen(first >= second, left, between)
        n_rounds += 1
        if n_rounds == ROUNDS_FOR_ALL:
            kept = np.argsort(-np.abs(first - second), kind="stable")[:MOST_SUSPICIOUS]
            left, right = tuple(p[kept] for p in left), tuple(p[kept] for p in right)
    found = {}
    for what, jumps in _changes(left, right).items():
        worst = int(np.argmax(np.where(np.isnan(jumps), np.inf, jumps)))
        found[what] = (float(left[0][worst]), float(jumps[worst]))
    return found


Points = tuple[np.ndarray, ...]
"""Places (R,), energies (R,), forces (R, F)."""


def _along(lab: Lab, path: Path, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (R,) and forces (R, F)."""
    found = lab.evaluate([path.at(float(r)) for r in places])
    return np.array([values["energy"] for values in found]), np.array([values["forces"].ravel() for values in found])


def _changes(left: Points, right: Points) -> dict[str, np.ndarray]:
    """Change of "energy" (R,) that the forces do not account for and of "forces" (R,), in the force there or 1 eV/A."""
    pull = (left[2][:, -3] + right[2][:, -3]) / 2
    scale = np.maximum(1.0, np.maximum(np.abs(left[2]).max(1), np.abs(right[2]).max(1)))
    energy = np.abs(right[1] - left[1] + pull * (right[0] - left[0])) / scale
    force = np.abs(right[2] - left[2]).max(1) / scale
    return {"energy": energy, "forces": force}


def _chosen(where: np.ndarray, a: Points, b: Points) -> Points:
    return (
        np.where(where, a[0], b[0]),
        np.where(where, a[1], b[1]),
        np.where(where[:, None], a[2], b[2]),
    )


CHECK = Check(
    number=15,
    name="smoothness",
    law="Energy and forces change continuously as atoms part and cross the cutoff.",
    meaning="MD heats or cools each time a pair crosses the cutoff, and relaxations hop about instead of ending.",
    run=_run,
)
