"""The ways to a gradient that a potential declares, as arrays: stored with the values, and by the caller's own pass.

N atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.conformance.lab import STENCIL, STEPS, Lab, displaced, extent, rounding, strained
from shoal.conformance.labelled import ask, energies, energy_support, halves, kinds
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.tally import NotApplicable
from shoal.contract import OutputRequest

if TYPE_CHECKING:
    from ase import Atoms

    from shoal.state import SimState


def explicit(lab: Lab, gradient: str, atoms: Atoms) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What it is, the stored gradients (R, ...) and the atoms (R, N) whose energies each row is the sum of."""
    try:
        subject, support = energy_support(lab)
    except NotApplicable:
        return
    sizes = [len(atoms)]
    some = halves(sizes)[0]
    selections = {"": None, " of some": some} if support.selected_atoms else {"": None}
    for kind in support.sample_kinds:
        if gradient not in support.explicit_gradients.get(kind, ()):
            continue
        for chosen, selection in selections.items():
            table = ask(subject, [atoms], selected=selection, sample_kind=kind, explicit_gradients=(gradient,))
            counted = np.ones(len(atoms)) if selection is None else np.isin(np.arange(len(atoms)), selection[:, 1])
            members = counted[None, :].astype(float)
            if kind == "atom":
                members = np.eye(len(atoms))[table.samples[:, 1]]
            stored = table.moved_by(sizes) if gradient == "positions" else table.gradients["strain"][1]
            yield f"explicit, per {kind}{chosen}", stored[..., 0], members


def other_energies(lab: Lab, gradient: str, atoms: Atoms) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """What it is, the stored gradients of all other energies along one direction, their slopes there, and the noise.

    Variants and ensembles: rows by properties (R, P), the slopes by central differences of the labelled values.
    """
    try:
        subject, served = energies(lab)
    except NotApplicable:
        return
    step = STEPS[subject.dtype] / (1 if gradient == "positions" else extent(atoms))
    shape = atoms.positions.shape if gradient == "positions" else (3, 3)
    direction = np.random.default_rng(6).normal(0, 1, shape)
    direction /= np.linalg.norm(direction)
    moved = [(displaced if gradient == "positions" else strained)(atoms, k * step * direction) for k in STENCIL]
    for name, support in served.items():
        for kind, offered in kinds(support):
            if name == "energy" or gradient not in offered:
                continue
            table = ask(subject, [atoms], name, sample_kind=kind, explicit_gradients=(gradient,))
            stored = table.moved_by([len(atoms)]) if gradient == "positions" else table.gradients[gradient][1]
            values = ask(subject, moved, name, sample_kind=kind).values.reshape(len(STENCIL), *table.values.shape)
            slopes = np.tensordot(np.array(list(STENCIL.values())) / step, values, axes=1)
            found = np.einsum("rabp,ab->rp", stored, direction)
            yield f"{name} per {kind}, along a direction", found, slopes, rounding(values) / step


def implicit(lab: Lab, atoms: Atoms) -> tuple[np.ndarray, np.ndarray] | None:
    """dE/dr (N, 3) and dE/d(strain) (3, 3) by the caller's backward pass to positions and cell; None without one."""
    try:
        subject, support = energy_support(lab)
    except NotApplicable:
        return None
    if not support.differentiable:
        return None
    state = subject.pack([atoms])
    positions, cell = state.positions.clone().requires_grad_(True), state.cell.clone().requires_grad_(True)
    with torch.enable_grad():
        energy = _energy(subject, state.replace(positions=positions, cell=cell))
        by_position, by_cell = torch.autograd.grad(energy, (positions, cell), allow_unused=True)
    by_cell = torch.zeros_like(cell) if by_cell is None else by_cell
    r, h = positions.detach().cpu().numpy(), cell.detach().cpu().numpy()[0]
    dr, dh = by_position.cpu().numpy(), by_cell.cpu().numpy()[0]
    return dr, r.T @ dr + h.T @ dh


def _energy(subject: PotentialSubject, state: SimState) -> torch.Tensor:
    return subject.outputs_of(state, {"energy": OutputRequest()})["energy"].block(0).values.sum()
