"""A committee's mean, spread and gradients, held against its members by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from metatensor.torch import Labels
from tests.potentials.test_explicit_gradients import BOTH, dense, some_atoms
from tests.potentials.test_potential_laws import _mixed_fcc, structures

import shoal
from shoal.architectures import AtomicEnergyModel
from shoal.contract import QUANTITIES, OutputRequest
from shoal.deploy import package_potential
from shoal.errors import InputError, ModelFileError, UnsupportedRequestError
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import (
    Committee,
    CompiledPotential,
    LearnedPotential,
    LennardJones,
    StillingerWeber,
    Sum,
    _atomic_gradients,
)
from shoal.potentials.short_range import ShortRangePotential
from shoal.state import SimState
from shoal.testing import close

IDENTITY = {"Ar": "Ar", "Kr": "Kr"}
KINDS = ("system", "atom")
SHIFTS = [-20_000.0, -7.0]


def member(seed: int, architecture: str = "nequip", **changes: object) -> LearnedPotential:
    config = {
        "cutoff": 3.6,
        "type_names": ["Ar", "Kr"],
        "mean_neighbors": 12.0,
        "num_layers": 2,
        "l_max": 1,
        "model_dtype": "float64",
        "seed": seed,
        **({"num_features": 6} if architecture == "nequip" else {"num_scalar_features": 8, "num_tensor_features": 4}),
        **changes,
    }
    potential = LearnedPotential(ArchitectureSpec(name=architecture, config=config), species_map=IDENTITY)
    potential.model.set_scales_shifts(1.3, [shift - 0.01 * seed for shift in SHIFTS])
    return potential


COMMITTEES = {
    "alike": lambda: [member(seed) for seed in range(4)],
    "other cutoffs and depths": lambda: [
        member(0),
        member(1, cutoff=3.9, num_layers=3),
        member(2, num_bessels=6, polynomial_cutoff_p=4, l_max=2),
        member(3, per_edge_type_cutoff={"Ar": 3.1}),
        member(4, bessel_trainable=True),
    ],
    "other architectures": lambda: [
        member(0),
        member(1, "allegro"),
        LennardJones({"Ar": (0.1, 2.3), "Kr": (0.2, 2.6)}, 4.0, "shift"),
    ],
}


@pytest.fixture(scope="module", params=COMMITTEES)
def members(request: pytest.FixtureRequest) -> list[ShortRangePotential]:
    return COMMITTEES[request.param]()


@pytest.fixture(scope="module")
def state() -> SimState:
    frames = structures(_mixed_fcc())
    return atoms_to_state([frames[name] for name in ("one-atom cell", "skewed", "slab", "cluster")])


@pytest.fixture(params=["all", "selection"])
def selected(request: pytest.FixtureRequest, state: SimState) -> Labels | None:
    return some_atoms(state) if request.param == "selection" else None


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ensemble_mean_and_spread_are_those_of_the_members(
    members: list[ShortRangePotential],
    state: SimState,
    selected: Labels | None,
    kind: str,
    rounds: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_atomic_gradients, "_rounds_are_cheaper", lambda *_: rounds)
    request = OutputRequest(sample_kind=kind, explicit_gradients=BOTH)  # type: ignore[arg-type]
    plain = OutputRequest(sample_kind=kind)  # type: ignore[arg-type]
    asked = {"energy": request, "energy_ensemble": request, "energy_uncertainty": plain}
    out = {name: tensor.block() for name, tensor in Committee(members).outputs(state, asked, selected).items()}
    each = [m.outputs(state, {"energy": request}, selected)["energy"].block() for m in members]
    ensemble = torch.cat([block.values for block in each], dim=1)
    close(out["energy_ensemble"].values, ensemble, 1e-14)
    close(out["energy"].values[:, 0], ensemble.numpy().mean(axis=1), 1e-14)
    close(out["energy_uncertainty"].values[:, 0], ensemble.numpy().std(axis=1, ddof=1), 1e-10)
    assert out["energy_ensemble"].properties.values[:, 0].tolist() == list(range(len(members)))
    assert out["energy_ensemble"].properties.names == out["energy_uncertainty"].properties.names == ["energy"]
    assert out["energy_uncertainty"].gradients_list() == []
    separate = [dense(block, state) for block in each]
    mean = dense(out["energy"], state)
    close(mean.positions, np.mean([one.positions for one in separate], axis=0), 1e-12)
    close(mean.strain, np.mean([one.strain for one in separate], axis=0), 1e-12)
    for name in BOTH:
        gradient = out["energy_ensemble"].gradient(name)
        flat = out["energy"].gradient(name)
        assert gradient.properties == out["energy_ensemble"].properties
        assert gradient.samples == flat.samples
        close(gradient.values.mean(-1), flat.values[..., 0], 1e-13)
    for k, one in enumerate(separate):
        positions = np.zeros_like(one.positions)
        gradient = out["energy_ensemble"].gradient("positions")
        sample, system, atom = gradient.samples.values.long().unbind(1)
        positions[sample, state.offsets[system] + atom] = gradient.values[..., k]
        close(positions, one.positions, 1e-12)
        close(out["energy_ensemble"].gradient("strain").values[..., k], one.strain, 1e-12)


def test_the_native_face_is_the_mean(members: list[ShortRangePotential], state: SimState) -> None:
    committee = Committee(members)
    weights = torch.linspace(-1, 2, state.n_atoms, dtype=torch.float64)
    for given in (None, weights):
        got = committee(state, neighbor_list(state, committee.cutoff), QUANTITIES, energy_weights=given)
        each = [m(state, neighbor_list(state, m.cutoff), QUANTITIES, energy_weights=given) for m in members]
        for name in ("energy", "atomic_energy", "forces", "virial"):
            close(got[name], torch.stack([values[name] for values in each]).mean(0), 1e-13)


def test_it_can_be_asked_for_one_thing_at_a_time(members: list[ShortRangePotential], state: SimState) -> None:
    committee = Committee(members)
    both = {"energy_ensemble": OutputRequest(explicit_gradients=BOTH), "energy": OutputRequest(explicit_gradients=BOTH)}
    together = committee.outputs(state, both)
    for name, request in both.items():
        alone = committee.outputs(state, {name: request})[name].block()
        close(alone.values, together[name].block().values, 1e-13)
        for gradient in BOTH:
            close(alone.gradient(gradient).values, together[name].block().gradient(gradient).values, 1e-13)


def test_values_are_differentiable_by_the_caller(members: list[ShortRangePotential], state: SimState) -> None:
    committee = Committee(members)
    leaf = state.positions.clone().requires_grad_()
    asked = {name: OutputRequest() for name in ("energy_uncertainty", "energy_ensemble")}
    out = committee.outputs(state.replace(positions=leaf), asked)
    ensemble, spread = (out[name].block().values for name in ("energy_ensemble", "energy_uncertainty"))
    slopes = [torch.autograd.grad(ensemble[:, k].sum(), leaf, retain_graph=True)[0] for k in range(len(members))]
    for slope, one in zip(slopes, members, strict=True):
        close(slope, -one(state, neighbor_list(state, one.cutoff), ("forces",))["forces"], 1e-12)
    # d std = sum_m (E_m - mean) dE_m / ((M - 1) std)
    away = (ensemble - ensemble.mean(1, keepdim=True)) / ((len(members) - 1) * spread)
    expected = sum(away[state.system_index, k, None] * slope for k, slope in enumerate(slopes))
    close(torch.autograd.grad(spread.sum(), leaf)[0], expected, 1e-9)  # type: ignore[arg-type]


def test_units_of_the_ensemble(state: SimState) -> None:
    committee = Committee(COMMITTEES["alike"]())
    names = ("energy_ensemble", "energy_uncertainty")
    plain, other = ({name: OutputRequest(unit) for name in names} for unit in ("eV", "meV"))
    for name in names:
        ratio = (
            committee.outputs(state, other)[name].block().values / committee.outputs(state, plain)[name].block().values
        )
        close(ratio, np.full(tuple(ratio.shape), 1000.0), 1e-14)


def test_members_of_single_precision(state: SimState) -> None:
    """Beside others, whose longer list changes the order of their sums."""
    members = [member(0, model_dtype="float32"), member(1), member(2, cutoff=3.9)]
    request = OutputRequest(sample_kind="atom", explicit_gradients=BOTH)
    got = Committee(members).outputs(state, {"energy_ensemble": request})["energy_ensemble"].block()
    each = [m.outputs(state, {"energy": request})["energy"].block() for m in members]
    shifts = torch.tensor(SHIFTS, dtype=torch.float64)[members[0].type_map()(state)]
    close(got.values - shifts[:, None], torch.cat([block.values for block in each], 1) - shifts[:, None], 1e-5)
    close(got.gradient("strain").values, torch.cat([b.gradient("strain").values for b in each], -1), 1e-5)


def test_members_that_agree_have_no_spread(state: SimState) -> None:
    committee = Committee([member(1), member(1)])
    asked = {"energy_uncertainty": OutputRequest(sample_kind="atom")}
    assert not committee.outputs(state, asked)["energy_uncertainty"].block().values.any()


def test_a_sum_with_a_committee_has_its_spread(state: SimState) -> None:
    committee = Committee([member(0), member(1), member(2)])
    pair = LennardJones({"Kr": (0.2, 2.6), "Ar": (0.1, 2.3)}, 5.0)
    total = Sum(pair, committee)
    asked = {name: OutputRequest() for name in ("energy", "energy_ensemble", "energy_uncertainty")}
    out, alone = total.outputs(state, asked), committee.outputs(state, asked)
    shift = pair.outputs(state, {"energy": OutputRequest()})["energy"].block().values
    for name in asked:
        expected = alone[name].block().values + (0 if name == "energy_uncertainty" else shift)
        close(out[name].block().values, expected, 1e-10 if name == "energy_uncertainty" else 1e-14)
    assert "energy_uncertainty" not in Sum(committee, committee).capabilities.quantities


def test_from_packages_in_a_calculator(tmp_path: Path) -> None:
    crystal = atoms_to_state(_mixed_fcc())
    made = [member(seed) for seed in range(3)]
    types = made[0].type_map()(crystal)
    paths = [package_potential(m, tmp_path / f"{k}.shoal", crystal, types) for k, m in enumerate(made)]
    got = shoal.BatchCalculator(Committee([paths[0], str(paths[1]), made[2]]))(crystal)
    want = shoal.BatchCalculator(Committee(made))(crystal)
    for name, values in want.items():
        close(got[name], values, 1e-14)


def test_claims() -> None:
    claims = Committee(COMMITTEES["other architectures"]()).capabilities
    assert (claims.truncation, claims.dtype, claims.hops, claims.strictly_local) == ("shift", "float64", 2, False)
    assert claims.interaction_range == pytest.approx(7.2)
    assert Committee([member(0), member(1, model_dtype="float32")]).capabilities.dtype == "float32"


def test_what_does_not_fit_is_refused(scripted_silicon: Path, state: SimState) -> None:
    with pytest.raises(InputError, match="two members at least, got 1"):
        Committee([member(0)])
    with pytest.raises(InputError, match="members of a committee must have the same atom types"):
        Committee([member(0), StillingerWeber()])
    with pytest.raises(InputError, match="member 1 is a CompiledPotential: a committee takes packages"):
        Committee([member(0), CompiledPotential(scripted_silicon)])  # type: ignore[list-item]
    with pytest.raises(ModelFileError, match="no such file"):
        Committee(["absent.shoal", "other.shoal"])
    with pytest.raises(UnsupportedRequestError, match="energy_ensemble is given by a Committee, and a Sum"):
        member(0).outputs(state, {"energy_ensemble": OutputRequest()})


def test_what_members_make_of_the_edges_alone_is_made_once(monkeypatch: pytest.MonkeyPatch, state: SimState) -> None:
    made = []
    plain = AtomicEnergyModel.geometry
    monkeypatch.setattr(AtomicEnergyModel, "geometry", lambda *given: made.append(1) or plain(*given))
    committee = Committee(COMMITTEES["alike"]())
    committee(state, neighbor_list(state, committee.cutoff))
    assert len(made) == 1
    committee.outputs(state, {"energy_uncertainty": OutputRequest()})
    assert len(made) == 2


@pytest.mark.filterwarnings("error:std")
def test_of_no_atoms_there_is_no_uncertainty_and_no_warning() -> None:
    committee = Committee([StillingerWeber(), StillingerWeber()])
    for kind, atoms in (("atom", [Atoms()]), ("system", [])):
        asked = {"energy_uncertainty": OutputRequest(sample_kind=kind)}  # type: ignore[arg-type]
        block = committee.outputs(atoms_to_state(atoms), asked)["energy_uncertainty"].block()
        assert block.values.shape == (0, 1)
