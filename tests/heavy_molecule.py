"""A molecule of C, H, N and O with total energies near -17,500 eV, as all-electron calculations give them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from ase import Atoms

from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import Graph, LearnedPotential

SHIFTS = {"C": -1029.8376219153, "H": -13.5872245917, "N": -1484.9814072316, "O": -2042.0330990156}
SCALES = {"C": 1.4, "H": 0.3, "N": 1.1, "O": 0.9}
TYPES = tuple(SHIFTS)


def molecule(seed: int, n_atoms: int = 27) -> Atoms:
    """C12H12N2O or its first atoms: places of a grid in a fixed order, displaced by the seed."""
    grid = 1.45 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    symbols = np.random.default_rng(0).permutation(["C"] * 12 + ["H"] * 12 + ["N"] * 2 + ["O"])
    noise = np.random.default_rng(100 + seed).normal(0, 0.08, grid.shape)
    return Atoms(symbols[:n_atoms], positions=(grid + noise)[:n_atoms])


def model(model_dtype: str = "float32") -> LearnedPotential:
    config = {
        "cutoff": 3.0,
        "type_names": list(TYPES),
        "mean_neighbors": 10.0,
        "num_layers": 2,
        "l_max": 1,
        "num_features": 8,
        "radial_mlp_width": 16,
        "model_dtype": model_dtype,
        "seed": 5,
    }
    identity = {name: name for name in TYPES}
    potential = LearnedPotential(ArchitectureSpec(name="nequip", config=config), species_map=identity)
    potential.model.set_scales_shifts(list(SCALES.values()), list(SHIFTS.values()))
    return potential


def reference_energy(atoms: Atoms) -> Fraction:
    """Sum of the shifts, exact."""
    return sum((Fraction(SHIFTS[symbol]) for symbol in atoms.get_chemical_symbols()), Fraction(0))


def exact_energy(potential: LearnedPotential, atoms: Atoms) -> Fraction:
    """The network's own numbers, in its precision, scaled, shifted and summed in rational arithmetic."""
    state = atoms_to_state(atoms)
    neighbors = neighbor_list(state, potential.cutoff)
    types = potential.type_map()(state)
    graph = Graph(neighbors.edge_vectors(state.positions, state.cell), neighbors.edge_index, types, state.system_index)
    bare = potential.with_core_dtype(potential.model_dtype)
    bare.model.set_scales_shifts(1.0, 0.0)
    energies = bare.atomic_energies(graph).tolist()
    symbols = atoms.get_chemical_symbols()
    terms = zip(energies, symbols, strict=True)
    return sum((Fraction(SCALES[s]) * Fraction(e) for e, s in terms), Fraction(0)) + reference_energy(atoms)


def differences(energies: list[Fraction] | np.ndarray | torch.Tensor) -> list[float]:
    """Each energy less the first, formed exactly from what is given."""
    exact = [energy if isinstance(energy, Fraction) else Fraction(float(energy)) for energy in energies]
    return [float(energy - exact[0]) for energy in exact]
