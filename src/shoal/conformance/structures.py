"""Small structures of every kind, built for the species a model knows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shoal.conformance.pairs import pair_distances
from shoal.conformance.subject import Species, Subject
from shoal.errors import ShoalWarning

if TYPE_CHECKING:
    from ase import Atoms

SKEW = np.array([[0.89, 0.3, 0.33], [-0.07, 0.97, -0.16], [-0.54, 0.24, 0.87]])
"""A shear, turned so that no entry of a cell is zero: no order of axes, triangular form or transpose looks alike."""
MOST_SPECIES = 3
MOST_GIVEN = 3
MOST_ATOMS = 128
SCALES = np.geomspace(0.9, 2.0, 12)
CLEARANCE = 4e-3
"""A: no pair of a structure lies this near the cutoff, so that small displacements take none across it."""


def chosen_species(subject: Subject) -> tuple[Species, ...]:
    """The first few: a handful shows what a model does with its species, and every pair of them is scanned."""
    return subject.species[:MOST_SPECIES]


def default_structures(subject: Subject, given: Sequence[Atoms] = ()) -> dict[str, Atoms]:
    """Molecule, crystals, slab, wire and a one-atom cell of a model's species, and up to three `given` structures.

    Spacings are those at which the model's crystal has its lowest energy, from 0.9 to 2 times the sum of covalent
    radii and within the cutoff. Atoms are rattled, some lie outside their cell, and no pair lies at the cutoff.
    """
    crystal = crystal_of(subject)
    generator = np.random.default_rng(20)
    makers = {
        "molecule": _molecule,
        "crystal": lambda atoms: atoms,
        "triclinic": _skewed,
        "left-handed": _mirrored,
        "slab": _slab,
        "wire": _wire,
        "small cell": _small_cell,
    }
    made = {name: _clear_of_cutoff(maker(crystal), subject.cutoff, generator) for name, maker in makers.items()}
    return made | _chosen(given)


def crystal_of(subject: Subject) -> Atoms:
    """Eight atoms of a model's first species, at the spacing where they have their lowest energy."""
    species = chosen_species(subject)
    return _crystal(species, _spacing(subject, species))


def _chosen(given: Sequence[Atoms]) -> dict[str, Atoms]:
    """The smallest few of the user's, named by their place in the input."""
    fitting = sorted((len(atoms), place) for place, atoms in enumerate(given) if 0 < len(atoms) <= MOST_ATOMS)
    taken = sorted(place for _, place in fitting[:MOST_GIVEN])
    if len(taken) < len(given):
        warnings.warn(
            f"{len(taken)} of {len(given)} structures are taken, the smallest of up to {MOST_ATOMS} atoms: every one "
            "is displaced, strained, turned and repeated",
            ShoalWarning,
            stacklevel=4,
        )
    return {f"structure {place}": bare(given[place]) for place in taken}


def bare(atoms: Atoms) -> Atoms:
    """Species, positions, cell and periodicity alone."""
    from ase import Atoms

    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if "type_label" in atoms.arrays:
        copy.set_array("type_label", atoms.arrays["type_label"].copy())
    return copy


def atoms_of(species: Sequence[Species], positions: np.ndarray, cell: np.ndarray | None = None) -> Atoms:
    """Atoms of these species, one each; periodic if there is a cell."""
    from ase import Atoms

    atoms = Atoms([s.symbol for s in species], positions, cell=cell, pbc=cell is not None)
    if any(s.label for s in species):
        atoms.set_array("type_label", np.array([s.label for s in species]))
    return atoms


def radius(species: Species) -> float:
    """Half a bond, A."""
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[species.symbol]])


DIAMOND = (0.25, ("C", "Si", "Ge", "Sn"))


def _crystal(species: Sequence[Species], spacing: float) -> Atoms:
    """Eight atoms of diamond for the elements that bond so, else rock salt; `spacing` A is that of neighbours."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    tetrahedral = len(species) == 1 and species[0].symbol in DIAMOND[1]
    offset = np.full(3, DIAMOND[0]) if tetrahedral else np.array([0.5, 0, 0])
    edge = spacing / np.linalg.norm(offset)
    sites = np.concatenate([corners, corners + offset]) % 1.0
    return atoms_of([species[k * len(species) // 8] for k in range(8)], sites * edge, np.eye(3) * edge)


def _spacing(subject: Subject, species: Sequence[Species]) -> float:
    bond = 2 * max(radius(s) for s in species)
    spacings = [d for d in bond * SCALES if d <= 0.75 * subject.cutoff] or [0.6 * subject.cutoff]
    try:
        found = subject.evaluate([_crystal(species, d) for d in spacings])
        energies = np.array([float(values["energy"]) for values in found])
    except Exception:  # whatever is wrong with the model, a check will say it
        return float(min(1.1 * bond, 0.6 * subject.cutoff))
    return float(spacings[int(np.argmin(np.where(np.isfinite(energies), energies, np.inf)))])


def _molecule(crystal: Atoms) -> Atoms:
    """Five atoms around a site: bonds and angles, none in a plane."""
    from ase.geometry import get_distances

    vectors, distances = get_distances(crystal.positions[:1], crystal.positions[1:], crystal.cell, crystal.pbc)
    nearest = np.argsort(distances[0], kind="stable")[:4]
    molecule = crystal[[0, *(nearest + 1)]]
    molecule.positions[1:] = crystal.positions[0] + vectors[0][nearest]
    molecule.pbc = False
    molecule.cell[:] = 0
    return molecule


def _skewed(crystal: Atoms) -> Atoms:
    skewed = crystal.copy()
    skewed.set_cell(crystal.cell.array @ SKEW, scale_atoms=True)
    return skewed


def _mirrored(crystal: Atoms) -> Atoms:
    mirrored = _skewed(crystal)
    mirrored.set_cell(mirrored.cell.array[[1, 0, 2]])
    return mirrored


def _slab(crystal: Atoms) -> Atoms:
    """Periodic along two axes, with a third vector that spans more than the atoms."""
    slab = _skewed(crystal)
    slab.cell[2] *= 2.3
    slab.pbc = (True, True, False)
    return slab


def _wire(crystal: Atoms) -> Atoms:
    """Periodic along the second axis, the vectors of the others zero."""
    wire = _skewed(crystal)
    wire.cell[[0, 2]] = 0
    wire.pbc = (False, True, False)
    return wire


def _small_cell(crystal: Atoms) -> Atoms:
    """One atom, whose neighbours are its own images."""
    small = crystal[:1]
    edge = np.cbrt(crystal.get_volume() / len(crystal))
    small.set_cell(1.1 * edge * SKEW)
    return small


def _clear_of_cutoff(atoms: Atoms, cutoff: float, generator: np.random.Generator) -> Atoms:
    """Rattled, the last atom moved by a lattice vector, and no pair as far apart as the cutoff."""
    amplitude = 0.03 * np.cbrt(max(1.0, float(np.ptp(atoms.positions, axis=0).prod())) / len(atoms))
    for attempt in range(100):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array * (1 + 1e-3 * attempt), scale_atoms=bool(atoms.pbc.all()))
        moved.positions += generator.normal(0, amplitude, moved.positions.shape)
        moved.positions[-1] -= (moved.pbc[:, None] * moved.cell.array).sum(0)
        if not np.isfinite(cutoff) or not (np.abs(pair_distances(moved, cutoff + 1) - cutoff) < CLEARANCE).any():
            break
    return moved
