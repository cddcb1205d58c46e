"""Models to export and structures to evaluate them on."""

from __future__ import annotations

from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk, fcc111
from tests.conftest import rattled

from shoal.contract import QUANTITIES
from shoal.deploy import package_potential
from shoal.files import ArchitectureSpec
from shoal.integrations.metatomic import Exported, export_model
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential


def oxide(copies: int = 1, seed: int = 0) -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2).repeat((copies, 1, 1))
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.08, 0.0], [0.0, 0.96, 0.03], [-0.05, 0.0, 1.02]], scale_atoms=True)
    return rattled(atoms, seed)


def slab() -> Atoms:
    atoms = rattled(fcc111("Mg", (1, 2, 2), a=4.2, vacuum=None, periodic=False), 3)
    atoms.symbols[1] = "O"
    return atoms


def frames() -> list[Atoms]:
    """A sheared crystal, a slab, a wire, a molecule and an atom; many images of small cells."""
    wire = Atoms("MgO", positions=[[0, 0, 0], [0.3, 0.4, 1.8]], cell=[0, 0, 3.4], pbc=[False, False, True])
    return [oxide(), slab(), wire, Atoms("OMg", positions=[[0, 0, 0], [1.2, 0.7, 0.9]]), Atoms("Mg"), oxide(3, seed=1)]


def potential(architecture: str, **settings: object) -> LearnedPotential:
    config = {
        "nequip": {"l_max": 2, "num_layers": 2, "num_features": 4, "radial_mlp_width": 8},
        "allegro": {"l_max": 1, "num_layers": 2, "num_scalar_features": 8, "num_tensor_features": 4},
    }[architecture]
    shared = {"cutoff": 3.3, "type_names": ["O", "Mg"], "mean_neighbors": 0.8, "model_dtype": "float64", "seed": 5}
    made = LearnedPotential(ArchitectureSpec(name=architecture, config={**shared, **config, **settings}))
    made.model.set_scales_shifts([3.0, 2.0], [-432.1, -1.5])  # type: ignore[operator]
    return made


def export(made: LearnedPotential, folder: Path, kernel: str) -> Exported:
    state = atoms_to_state([oxide(), slab()])
    package = package_potential(made, folder / "oxide.shoal", state, made.type_map(True)(state))
    return export_model(package, folder / "oxide.pt", kernel=kernel, name="oxide", authors=["A. U. Thor"])


def expected(eager: LearnedPotential, atoms: list[Atoms]) -> dict[str, torch.Tensor]:
    state = atoms_to_state(atoms)
    types = eager.type_map(True if eager.species_map is None else None)(state)
    return eager(state, neighbor_list(state, eager.cutoff), QUANTITIES, atom_types=types)
