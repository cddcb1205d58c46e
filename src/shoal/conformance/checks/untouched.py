"""A call leaves its inputs and the process as they were."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.conformance.base import Check
from shoal.conformance.lab import Lab
from shoal.conformance.labelled import tensors
from shoal.conformance.potential_subject import PotentialSubject
from shoal.conformance.subject import Subject
from shoal.conformance.tally import Tally
from shoal.neighbors import neighbor_list

if TYPE_CHECKING:
    from ase import Atoms

GLOBALS: dict[str, Callable[[], Any]] = {
    "torch's generator": lambda: torch.get_rng_state().tolist(),
    "numpy's generator": lambda: str(np.random.get_state()),  # noqa: NPY002 (the global one is what is watched)
    "Python's generator": random.getstate,
    "the default dtype": torch.get_default_dtype,
    "the grad mode": torch.is_grad_enabled,
    "the number of threads": torch.get_num_threads,
    "the matmul precision": torch.get_float32_matmul_precision,
    "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
    "the warning filters": lambda: list(warnings.filters),
    "numpy's error handling": np.geterr,
    "the environment": lambda: dict(os.environ),
    "the working folder": os.getcwd,
}


def _run(lab: Lab, tally: Tally) -> None:
    atoms = lab.structures["triclinic"]
    lab.values("triclinic")  # what is imported at a first call may do as it likes
    if isinstance(lab.subject, PotentialSubject):
        tensors(lab.subject, lab.subject.pack([atoms]))
    with _other_generators():
        before = {name: look() for name, look in GLOBALS.items()}
        try:
            _inputs_kept(lab.subject, atoms, tally)
            after = {name: look() for name, look in GLOBALS.items()}
        finally:
            torch.set_grad_enabled(before["the grad mode"])
            torch.set_default_dtype(before["the default dtype"])
    for name, value in before.items():
        tally.require(f"{name} is as before", after[name] == value)


@contextmanager
def _other_generators() -> Iterator[None]:
    """Generators in a state that no call has left behind, and then as they were: seeding anew would not show else."""
    ours = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(52_837), np.random.seed(52_837), random.seed(52_837)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(ours[0])
        np.random.set_state(ours[1])  # noqa: NPY002
        random.setstate(ours[2])


def _inputs_kept(subject: Subject, atoms: Atoms, tally: Tally) -> None:
    if isinstance(subject, PotentialSubject):
        state = subject.pack([atoms])
        neighbors = neighbor_list(state, subject.cutoff)
        types = subject.type_map(state)
        watched = {
            "positions": state.positions,
            "cell": state.cell,
            "pbc": state.pbc,
            "atomic_numbers": state.atomic_numbers,
            "atom_types": types,
            "edge_index": neighbors.edge_index,
            "shifts": neighbors.shifts,
        }
        copies = {name: value.clone() for name, value in watched.items()}
        calls: dict[str, Callable[[], object]] = {
            "": lambda: subject.potential(state, neighbors, subject.outputs, atom_types=types),
            " after labelled outputs": lambda: tensors(subject, state, neighbors, types),
        }
        for when, call in calls.items():
            call()
            for name, value in watched.items():
                tally.require(f"{name} is as it was{when}", torch.equal(value, copies[name]))
                tally.require(f"{name} asks for no gradient{when}", not value.requires_grad)
    else:
        copy = atoms.copy()
        subject.evaluate([atoms])
        same = np.array_equal(copy.positions, atoms.positions) and np.array_equal(copy.cell.array, atoms.cell.array)
        tally.require("positions and cell are as they were", same)


CHECK = Check(
    number=23,
    name="nothing touched",
    law="A call changes neither its inputs nor the process: generators, default dtype, threads, warnings, environment.",
    meaning="Trajectories are moved by the model itself, and other code in the process changes its results.",
    run=_run,
)
