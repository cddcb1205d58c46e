"""The Lennard-Jones potential of every element: the published minima, and ASE's energies with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.data import chemical_symbols

from shoal import BatchCalculator
from shoal.errors import UnsupportedSpeciesError
from shoal.io import atoms_to_state
from shoal.potentials import LennardJones, uff_lennard_jones

KCAL_PER_MOL = units.kcal / units.mol


def energy(potential: LennardJones, atoms: Atoms) -> float:
    return float(BatchCalculator(potential)(atoms_to_state(atoms))["energy"])


# of table 1 of the paper: distance of the minimum in A, depth in kcal/mol
MINIMA = {
    "H": (2.886, 0.044),
    "C": (3.851, 0.105),
    "O": (3.500, 0.060),
    "Na": (2.983, 0.030),
    "Si": (4.295, 0.402),
    "Ar": (3.868, 0.185),
    "Cu": (3.495, 0.005),
    "Xe": (4.404, 0.332),
    "Au": (3.293, 0.039),
    "U": (3.395, 0.022),
    "Lr": (3.236, 0.011),
}


@pytest.mark.parametrize("symbol", MINIMA)
def test_the_minimum_of_a_dimer_is_the_published_one(symbol: str) -> None:
    distance, depth = MINIMA[symbol]
    potential = uff_lennard_jones(cutoff=20.0, truncation="none")
    at, before, beyond = (
        energy(potential, Atoms([symbol, symbol], [[0, 0, 0], [0, 0, d]]))
        for d in (distance, distance - 0.01, distance + 0.01)
    )
    np.testing.assert_allclose(at, -depth * KCAL_PER_MOL, rtol=1e-6)
    assert at < min(before, beyond)


def test_it_is_the_lennard_jones_of_ase() -> None:
    atoms = bulk("Cu", a=4.9, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    distance, depth = MINIMA["Cu"]
    atoms.calc = AseLennardJones(
        sigma=distance / 2 ** (1 / 6), epsilon=depth * KCAL_PER_MOL, rc=8.0, ro=6.4, smooth=False
    )
    ours = BatchCalculator(uff_lennard_jones("Cu", truncation="shift"))(atoms_to_state(atoms))
    np.testing.assert_allclose(ours["energy"], atoms.get_potential_energy(), rtol=1e-6)
    np.testing.assert_allclose(ours["forces"], atoms.get_forces(), rtol=0, atol=1e-6 * abs(atoms.get_forces()).max())


def test_unlike_elements_are_mixed_by_lorentz_and_berthelot() -> None:
    (x_na, d_na), (x_o, d_o) = MINIMA["Na"], MINIMA["O"]
    potential = uff_lennard_jones(["O", "Na"], cutoff=20.0, truncation="none")
    pair = Atoms("NaO", [[0, 0, 0], [0, 0, (x_na + x_o) / 2]])
    np.testing.assert_allclose(energy(potential, pair), -np.sqrt(d_na * d_o) * KCAL_PER_MOL, rtol=1e-6)


def test_every_element_up_to_lawrencium_is_there_and_sensible() -> None:
    potential = uff_lennard_jones()
    assert potential.type_names == tuple(chemical_symbols[1:104])
    epsilon, sigma = potential.epsilon.diagonal(), potential.sigma.diagonal()
    assert epsilon.min() > 1e-4
    assert epsilon.max() < 0.03
    assert sigma.min() > 2.0
    assert sigma.max() < 4.5
    assert potential.capabilities.truncation == "smooth"


def test_it_serves_any_structure_the_same_with_all_elements_or_its_own() -> None:
    frames = [molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64), bulk("CsCl", "cesiumchloride", a=4.12)]
    state = atoms_to_state(frames)
    every = BatchCalculator(uff_lennard_jones())(state)
    own = BatchCalculator(uff_lennard_jones(["Cs", "O", "H", "Cl", "C", "Na", "H"]))(state)
    torch.testing.assert_close(own["energy"], every["energy"], rtol=1e-14, atol=0)
    torch.testing.assert_close(own["forces"], every["forces"])
    assert torch.isfinite(every["forces"]).all()


@pytest.mark.parametrize("elements", ["Rf", ["Si", "Xx"]])
def test_elements_beyond_the_table_are_refused(elements: str | list[str]) -> None:
    with pytest.raises(UnsupportedSpeciesError, match=f"no {elements if isinstance(elements, str) else 'Xx'}"):
        uff_lennard_jones(elements)
