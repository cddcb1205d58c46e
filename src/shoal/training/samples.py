"""From files to training samples: labelled structures with their edges, found once, in float64.

N atoms, E edges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from shoal.errors import DataError, InputError, UnsupportedSpeciesError
from shoal.io import LabelKeys, atoms_to_state, read, read_labels
from shoal.io.checks import structure_name
from shoal.neighbors import neighbor_list
from shoal.state import TypeMap
from shoal.training.config import DataConfig
from shoal.training.seeds import generator

if TYPE_CHECKING:
    from ase import Atoms


QUANTITIES = ("energy", "forces", "stress")


@dataclass(frozen=True, eq=False)
class Sample:
    """A labelled structure.

    edge_vectors (E, 3) A, edge_index (2, E), atom_types (N,), cell (3, 3) A; energy () eV, forces (N, 3) eV/A and
    stress (3, 3) eV/A^3 are zero where `labelled` (3,) bool (energy, forces, stress) says there is no label. Edge
    vectors are all a short-range model sees: positions (N, 3) A, pbc (3,) and atomic_numbers (N,) are for reference.
    """

    edge_vectors: torch.Tensor
    edge_index: torch.Tensor
    atom_types: torch.Tensor
    cell: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    labelled: torch.Tensor
    positions: torch.Tensor
    pbc: torch.Tensor
    atomic_numbers: torch.Tensor

    @property
    def n_atoms(self) -> int:
        return self.atom_types.shape[0]

    @property
    def n_edges(self) -> int:
        return self.edge_index.shape[1]


@dataclass(frozen=True, eq=False)
class DataSet:
    """The three parts of the data; `test` may be empty."""

    train: list[Sample]
    val: list[Sample]
    test: list[Sample]


def read_data(config: DataConfig, type_map: TypeMap, cutoff: float) -> DataSet:
    """Read and split the data, and find the pairs within `cutoff` (A).

    Raises DataError naming file, frame and what is wrong: no structures, labels that are NaN or of a wrong shape,
    an element the types do not cover, no pair within the cutoff anywhere.
    """
    if config.path is not None:
        parts = _split(_frames(config.path, "data.path"), config)
    else:
        given = {"train": config.train, "val": config.val, "test": config.test}
        parts = {part: _frames(paths, f"data.{part}") if paths else [] for part, paths in given.items()}
    keys = LabelKeys(**config.keys.model_dump())
    samples = {part: make_samples(frames, type_map, cutoff, keys) for part, frames in parts.items()}
    if not any(sample.n_edges for sample in samples["train"]):
        raise DataError(f"no two atoms of the training data are within the cutoff of {cutoff:g} A")
    return DataSet(**samples)


def make_samples(frames: Iterable[Atoms], type_map: TypeMap, cutoff: float, keys: LabelKeys) -> list[Sample]:
    """Samples of ASE structures; cutoff in A. Raises DataError."""
    return [_sample(atoms, k, type_map, cutoff, keys) for k, atoms in enumerate(frames)]


def fingerprint(samples: Sequence[Sample]) -> str:
    """A hash of every number in the samples, so that a run is resumed on the data it began with."""
    digest = hashlib.sha256()
    for sample in samples:
        for field in fields(Sample):
            digest.update(getattr(sample, field.name).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _frames(paths: Iterable[str | Path], key: str) -> list[Atoms]:
    try:
        return list(read(paths))
    except InputError as error:
        raise DataError(f"{key}: {error}") from error


def _split(frames: list[Atoms], config: DataConfig) -> dict[str, list[Atoms]]:
    """By fractions, in an order drawn from the seed; what rounding leaves over goes to training."""
    shares, n = config.fractions, len(frames)
    order = torch.randperm(n, generator=generator(config.seed, "split")).tolist()
    counts = {"val": round(shares.val * n), "test": round(shares.test * n)}
    counts["train"] = min(n, round((shares.train + shares.val + shares.test) * n)) - sum(counts.values())
    for part in ("train", "val"):
        if counts[part] < 1:
            raise DataError(
                f"data.path holds {n} structures: data.fractions.{part} = {getattr(shares, part):g} leaves none"
            )
    parts: dict[str, list[Atoms]] = {}
    for part in ("train", "val", "test"):
        chosen, order = order[: counts[part]], order[counts[part] :]
        parts[part] = [frames[k] for k in chosen]
    return parts


def _sample(atoms: Atoms, index: int, type_map: TypeMap, cutoff: float, keys: LabelKeys) -> Sample:
    name = structure_name(atoms, index)
    if len(atoms) == 0:
        raise DataError(f"{name}: it has no atoms")
    try:
        state = atoms_to_state(atoms)
        atom_types = type_map(state)
    except UnsupportedSpeciesError as error:
        raise DataError(f"{name}: {error} Add it to type_names or chemical_species_to_atom_type_map.") from error
    except InputError as error:
        raise DataError(f"{name}: {error}") from error
    labels = read_labels(atoms, index, keys)
    neighbors = neighbor_list(state, cutoff)

    def tensor(value: float | np.ndarray | None, shape: tuple[int, ...]) -> torch.Tensor:
        zeros = torch.zeros(shape, dtype=torch.float64)
        return zeros if value is None else torch.tensor(value, dtype=torch.float64)

    return Sample(
        edge_vectors=neighbors.edge_vectors(state.positions, state.cell),
        edge_index=neighbors.edge_index,
        atom_types=atom_types,
        cell=state.cell[0],
        energy=tensor(labels.energy, ()),
        forces=tensor(labels.forces, (len(atoms), 3)),
        stress=tensor(labels.stress, (3, 3)),
        labelled=torch.tensor([getattr(labels, quantity) is not None for quantity in QUANTITIES]),
        positions=state.positions,
        pbc=state.pbc[0],
        atomic_numbers=state.atomic_numbers,
    )
