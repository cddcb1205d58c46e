"""A sum is its terms, each on its own part of one list and in its own types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from shoal.contract import QUANTITIES, Capabilities, OutputRequest, Support
from shoal.errors import InputError, UnsupportedSpeciesError
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import Committee, LennardJones, Potential, StillingerWeber, Sum, Variants, _atomic_gradients
from shoal.potentials.base import EnergyDerivatives
from shoal.state import SimState
from shoal.testing import close


def silicon() -> SimState:
    frames = [bulk("Si", cubic=True), bulk("Si", cubic=True).repeat((2, 1, 1)), Atoms("Si")]
    for seed, atoms in enumerate(frames):
        atoms.positions += np.random.default_rng(seed).normal(0, 0.1, (len(atoms), 3))
    return atoms_to_state(frames)


def evaluate(potential: Potential, state: SimState, weights: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    return potential(state, neighbor_list(state, potential.cutoff), QUANTITIES, energy_weights=weights)


def long_range(**species: tuple[float, float]) -> LennardJones:
    return LennardJones(species or {"Si": (0.2, 2.2)}, 6.0, "shift")


@pytest.mark.parametrize("weighted", [False, True])
def test_every_quantity_is_the_sum_over_the_terms(weighted: bool) -> None:
    state = silicon()
    weights = torch.linspace(-1, 2, state.n_atoms, dtype=torch.float64) if weighted else None
    terms = [StillingerWeber(), long_range(), long_range()]
    total = evaluate(Sum(*terms), state, weights)
    parts = [evaluate(term, state, weights) for term in terms]
    nested = evaluate(Sum(Sum(*terms[:2]), terms[2]), state, weights)
    for name in QUANTITIES:
        expected = sum(part[name] for part in parts)
        finite = expected.isfinite()  # type: ignore[union-attr]
        close(total[name][finite], expected[finite], 1e-13)  # type: ignore[index]
        close(nested[name][finite], expected[finite], 1e-13)  # type: ignore[index]
        assert torch.equal(total[name].isfinite(), finite)


def test_types_are_matched_by_name() -> None:
    state = atoms_to_state(bulk("SiC", "zincblende", a=4.36, cubic=True))
    silicon_carbide = {"Si": (0.3, 2.0), "C": (0.2, 1.6)}
    first = long_range(Ge=(9.0, 9.0), C=silicon_carbide["C"], Si=silicon_carbide["Si"])
    second = long_range(**silicon_carbide)
    total = Sum(first, second)
    assert total.type_names == ("C", "Si")
    assert total.species_map == {"C": "C", "Si": "Si"}
    for name, value in evaluate(total, state).items():
        close(value, 2 * evaluate(second, state)[name], 1e-13)


def test_it_knows_only_what_all_terms_know() -> None:
    total = Sum(long_range(Si=(0.2, 2.2), Ge=(0.3, 2.3)), StillingerWeber())
    assert total.type_names == ("Si",)
    with pytest.raises(UnsupportedSpeciesError, match=r"Ge .*knows the elements Si"):
        evaluate(total, atoms_to_state(Atoms("Ge")))
    with pytest.raises(InputError, match="share no atom type"):
        Sum(long_range(Ar=(1.0, 1.0)), StillingerWeber())
    with pytest.raises(InputError, match="at least one"):
        Sum()


def test_it_claims_what_all_terms_claim() -> None:
    rough = LennardJones({"Si": (1.0, 1.0)}, 4.5, "none")
    claims = [Sum(StillingerWeber(), term).capabilities for term in (StillingerWeber(), long_range(), rough)]
    assert [c.truncation for c in claims] == ["smooth", "shift", "none"]
    assert [c.interaction_range for c in claims] == [StillingerWeber().cutoff, 6.0, 4.5]
    assert all(c.strictly_local for c in claims)
    assert claims[0].outputs == tuple(QUANTITIES)


def differentiated(potential: Potential, state: SimState) -> torch.Tensor:
    """dE/dr by the caller's own pass."""
    leaf = state.positions.clone().requires_grad_()
    answer = potential.outputs(state.replace(positions=leaf), {"energy": OutputRequest()})
    return torch.autograd.grad(answer["energy"].block().values.sum(), leaf)[0]


@pytest.mark.parametrize("rounds", [False, True])
def test_variants_are_a_term_like_any_other(rounds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Differentiable by the caller, and per atom by either way to its gradients."""
    monkeypatch.setattr(_atomic_gradients, "_rounds_are_cheaper", lambda *_: rounds)
    state = silicon()
    first, second = StillingerWeber(), long_range()
    total = Sum(Variants(first, other=LennardJones({"Si": (1.0, 1.0)}, 6.5)), second)
    close(differentiated(total, state), differentiated(first, state) + differentiated(second, state), 1e-12)
    asked = {"energy": OutputRequest(sample_kind="atom", explicit_gradients=("strain",))}
    found, *parts = (p.outputs(state, asked)["energy"].block().gradient("strain") for p in (total, first, second))
    close(found.values, parts[0].values + parts[1].values, 1e-12)


def test_variants_of_a_committee_have_its_ensemble() -> None:
    committee = Committee([long_range(Si=(0.2 + 0.1 * k, 2.2)) for k in range(3)])
    asked = {"energy_ensemble": OutputRequest(), "energy_uncertainty": OutputRequest()}
    state = silicon()
    expected = committee.outputs(state, asked)
    for potential in (Variants(committee, other=StillingerWeber()), Sum(Variants(committee), StillingerWeber())):
        found = potential.outputs(state, asked)
        spread = found["energy_uncertainty"].block().values
        close(spread, expected["energy_uncertainty"].block().values, 1e-9)
        assert found["energy_ensemble"].block().values.shape == (state.n_systems, 3)


def test_variants_claim_what_all_of_them_claim() -> None:
    rough = LennardJones({"Si": (1.0, 1.0)}, 6.0, "none")
    claims = Variants(StillingerWeber(), rough=rough).capabilities
    assert (claims.truncation, claims.interaction_range, claims.hops) == ("none", 6.0, 1)


class WithoutAtoms(StillingerWeber):
    """Tells no energies of atoms."""

    @property
    def capabilities(self) -> Capabilities:
        support = Support(sample_kinds=("system",), explicit_gradients={"system": ("strain",)}, selected_atoms=False)
        outputs = ("energy", "forces", "stress", "virial")
        return super().capabilities.model_copy(update={"outputs": outputs, "quantities": {"energy": support}})

    def energy_derivatives(self, *arguments: Any, **more: Any) -> EnergyDerivatives:
        return super().energy_derivatives(*arguments, **more)._replace(atomic_energy=None)


def test_a_term_without_energies_of_atoms_leaves_those_of_systems() -> None:
    state, terms = silicon(), [WithoutAtoms(), long_range()]
    asked = {"energy": OutputRequest(explicit_gradients=("strain",))}
    found, *parts = (p.outputs(state, asked)["energy"].block() for p in (Sum(*terms), *terms))
    close(found.values, parts[0].values + parts[1].values, 1e-13)
    strains = [part.gradient("strain").values for part in (found, *parts)]
    close(strains[0], strains[1] + strains[2], 1e-12)
