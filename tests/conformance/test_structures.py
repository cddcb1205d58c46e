"""The structures that models are judged on are of every kind, well spaced, and measured without a neighbour list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from shoal.conformance.lab import Lab
from shoal.conformance.open import subject_of
from shoal.conformance.pairs import all_pairs, pair_distances
from shoal.conformance.structures import default_structures
from shoal.errors import ShoalWarning
from shoal.potentials import LearnedPotential, LennardJones, StillingerWeber

ARGON = {"Ar": (0.0104, 3.4)}


@pytest.fixture(scope="module")
def made() -> dict[str, Atoms]:
    return default_structures(subject_of(StillingerWeber()))


def test_every_kind_is_there(made: dict[str, Atoms]) -> None:
    volume = {name: float(np.linalg.det(atoms.cell.array)) for name, atoms in made.items()}
    assert {name: atoms.pbc.sum() for name, atoms in made.items()} == {
        "molecule": 0,
        "crystal": 3,
        "triclinic": 3,
        "left-handed": 3,
        "slab": 2,
        "wire": 1,
        "small cell": 3,
    }
    assert volume["left-handed"] < 0 < volume["triclinic"]
    assert volume["molecule"] == volume["wire"] == 0
    assert abs(volume["slab"]) > 0
    assert np.abs(made["triclinic"].cell.array).min() > 0.2  # no entry that a transposed or reduced cell would share
    assert len(made["small cell"]) == 1
    assert (made["triclinic"].get_scaled_positions(wrap=False) < 0).any()


@pytest.mark.parametrize("potential", [StillingerWeber(), LennardJones(ARGON, 8.5), LennardJones(ARGON, 8.5, "none")])
def test_atoms_are_bonded_and_no_pair_lies_at_the_cutoff(potential: LennardJones) -> None:
    for atoms in default_structures(subject_of(potential)).values():
        i, d = primitive_neighbor_list(
            "id", atoms.pbc, atoms.cell.array, atoms.positions, potential.cutoff + 0.5, self_interaction=False
        )
        assert set(i) == set(range(len(atoms)))
        assert np.abs(d - potential.cutoff).min() > 0.003
        assert d.min() > 1.5


def test_spacings_are_those_of_the_models_own_minimum() -> None:
    wide, narrow = (default_structures(subject_of(LennardJones({"Ar": (0.01, sigma)}, 9.0))) for sigma in (3.4, 2.6))
    for atoms, sigma in ((wide["crystal"], 3.4), (narrow["crystal"], 2.6)):
        nearest = pair_distances(atoms, 6.0).min()
        assert nearest == pytest.approx(2 ** (1 / 6) * sigma, rel=0.12)


def test_types_without_an_element_get_labels(water: LearnedPotential) -> None:
    potential = LearnedPotential(water.spec, species_map={"O": "O_water"})
    structures = default_structures(subject_of(potential))
    labels = set(structures["crystal"].arrays["type_label"])
    assert labels == {"hydrogen_like", ""}


@pytest.mark.parametrize("name", ["molecule", "crystal", "triclinic", "left-handed", "slab", "wire", "small cell"])
def test_pairs_by_trying_all_images_are_those_of_ase(made: dict[str, Atoms], name: str) -> None:
    atoms = made[name]
    for cutoff in (2.9, 7.3):
        i, j, shifts = all_pairs(atoms, cutoff)
        ase_i, ase_j, ase_s = primitive_neighbor_list(
            "ijS", atoms.pbc, atoms.cell.array, atoms.positions, cutoff, self_interaction=False
        )
        own = sorted(zip(i.tolist(), j.tolist(), map(tuple, shifts.tolist()), strict=True))
        assert own == sorted(zip(ase_i.tolist(), ase_j.tolist(), map(tuple, ase_s.tolist()), strict=True))


def test_slopes_are_those_of_a_polynomial() -> None:
    """A cluster of two, moved along each coordinate, against the derivative worked out by hand."""
    lab = Lab(
        subject_of(LennardJones({"Ar": (1.0, 2.0)}, 50.0, "none")), {"two": Atoms("Ar2", [[0, 0, 0], [2.3, 0, 0]])}
    )
    s6 = (2.0 / 2.3) ** 6
    slope = 4 * (-12 * s6 * s6 + 6 * s6) / 2.3
    np.testing.assert_allclose(lab.moved("two").energy, [-slope, 0, 0, slope, 0, 0], atol=1e-9)
    np.testing.assert_allclose(lab.strained("two").energy, [slope * 2.3, *[0] * 8], atol=1e-9)


def test_the_smallest_of_the_users_structures_are_taken() -> None:
    given = [bulk("Si", cubic=True) * (3, 3, 3), bulk("Si"), bulk("Si", cubic=True)]
    with pytest.warns(ShoalWarning, match="2 of 3 structures are taken"):
        structures = default_structures(subject_of(StillingerWeber()), given)
    assert [len(atoms) for name, atoms in structures.items() if name.startswith("structure")] == [2, 8]
    assert {"structure 1", "structure 2"} <= set(structures)
