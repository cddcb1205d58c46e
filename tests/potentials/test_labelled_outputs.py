"""The labelled face beside explicit gradients: the caller's own derivatives, units, what is passed on, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from metatensor.torch import Labels
from tests.potentials.nequip_standin import write_torchscript
from tests.potentials.test_potential_laws import CASES, STEP, Case, structures

from shoal.contract import BOTH, STANDARD, Capabilities, Layout, OutputRequest, Standard, Support
from shoal.errors import InputError, UnsupportedRequestError
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials import (
    CompiledNequIP,
    CompiledPotential,
    LearnedPotential,
    LennardJones,
    Potential,
    StillingerWeber,
    Variants,
    _atomic_gradients,
)
from shoal.state import SimState
from shoal.testing import close

EAGER = [name for name in CASES if "TorchScript" not in name]
GRADIENTS = ("positions", "strain")


@pytest.fixture(scope="module", params=EAGER)
def case(request: pytest.FixtureRequest) -> Case:
    made = CASES[request.param]
    potential = made.make()
    return Case(lambda: potential, made.crystal)


def energy(potential: Potential, state: SimState, kind: str = "system", **more: object) -> torch.Tensor:
    request = OutputRequest(sample_kind=kind, **more)  # type: ignore[arg-type]
    return potential.outputs(state, {"energy": request})["energy"].block().values


@pytest.mark.parametrize("geometry", ["skewed", "slab", "cluster"])
def test_energies_are_twice_differentiable_in_positions_cell_and_strain(case: Case, geometry: str) -> None:
    potential, state = case.make(), atoms_to_state(structures(case.crystal)[geometry][:3])
    neighbors = neighbor_list(state, potential.cutoff)
    identity = torch.eye(3, dtype=torch.float64)

    def energies(positions: torch.Tensor, cell: torch.Tensor, strain: torch.Tensor) -> torch.Tensor:
        moved = state.replace(positions=positions @ (identity + strain), cell=cell @ (identity + strain))
        return potential.outputs(moved, {"energy": OutputRequest("kJ/mol")}, None, neighbors)["energy"].block().values

    leaves = [state.positions, state.cell, torch.zeros(3, 3, dtype=torch.float64)]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(energies, leaves, eps=1e-5, atol=1e-5, rtol=1e-5)
    assert torch.autograd.gradgradcheck(energies, leaves, eps=1e-5, atol=1e-4, rtol=1e-4, fast_mode=True)


def test_forces_from_the_labelled_energy_are_differentiable_in_the_parameters() -> None:
    case = CASES["NequIP"]
    potential = case.make()
    assert isinstance(potential, LearnedPotential)
    potential = potential.with_core_dtype("float64")
    potential.model.requires_grad_(True)
    weight = potential.model.readout.weights[0]
    state = atoms_to_state(structures(case.crystal)["skewed"])

    def loss() -> torch.Tensor:
        leaf = state.positions.clone().requires_grad_()
        values = energy(potential, state.replace(positions=leaf), "atom")
        (slope,) = torch.autograd.grad(values.sum(), leaf, create_graph=True)
        return slope.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    place = divmod(int(gradient.abs().argmax()), gradient.shape[1])
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * STEP
        ends.append(float(loss()))
        with torch.no_grad():
            weight[place] -= sign * STEP
    close(gradient[place], (ends[0] - ends[1]) / (2 * STEP), 1e-6)


def test_values_carry_a_graph_only_where_the_caller_has_one(case: Case) -> None:
    potential, state = case.make(), atoms_to_state(case.crystal)
    attached = state.replace(positions=state.positions.clone().requires_grad_())
    request = {"energy": OutputRequest(explicit_gradients=GRADIENTS)}
    assert not energy(potential, state).requires_grad
    block = potential.outputs(attached, request)["energy"].block()
    assert block.values.requires_grad
    assert not block.gradient("positions").values.requires_grad
    with torch.no_grad():
        block = potential.outputs(attached, request)["energy"].block()
    assert not block.values.requires_grad
    assert block.gradients_list() == list(GRADIENTS)
    assert potential.outputs(state, {"energy": OutputRequest()})["energy"].block().gradients_list() == []


def test_energies_alone_need_no_gradients_and_run_in_inference_mode(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients come from a C++ kernel, which takes none by autograd, or the error says what to do."""
    potential, state = case.make(), atoms_to_state(case.crystal)
    expected = energy(potential, state)

    def gradients(kind: str) -> torch.Tensor:
        request = OutputRequest(sample_kind=kind, explicit_gradients=GRADIENTS)  # type: ignore[arg-type]
        return potential.outputs(state, {"energy": request})["energy"].block().gradient("positions").values

    with torch.inference_mode():
        close(energy(potential, state), expected, 0)
    for kind, rounds in (("system", False), ("atom", False), ("atom", True)):
        monkeypatch.setattr(_atomic_gradients, "_rounds_are_cheaper", lambda *_, rounds=rounds: rounds)
        outside = gradients(kind)
        with torch.inference_mode():
            if kind == "system" and potential.skips_far_pairs:
                close(gradients(kind), outside, 0)
                continue
            with pytest.raises(InputError, match=r"use torch.no_grad\(\)"):
                gradients(kind)


@pytest.mark.parametrize("kind", ["system", "atom"])
def test_values_and_gradients_are_converted_and_nothing_is_in_place(case: Case, kind: str) -> None:
    potential = case.make()
    state = atoms_to_state([structures(case.crystal)[name] for name in ("skewed", "cluster")])
    asked = {"energy": OutputRequest(sample_kind=kind, explicit_gradients=GRADIENTS)}  # type: ignore[arg-type]
    converted = OutputRequest("Ha", kind, GRADIENTS, "Bohr")  # type: ignore[arg-type]
    plain = potential.outputs(state, asked)["energy"].block()
    kept = plain.copy()
    hartree, bohr = 27.211386245988, 0.529177210903
    block = potential.outputs(state, {"energy": converted})["energy"].block()
    close(block.values, plain.values / hartree, 1e-14)
    for name, factor in (("positions", bohr / hartree), ("strain", 1 / hartree)):
        close(block.gradient(name).values, plain.gradient(name).values * factor, 1e-14)
    close(plain.values, kept.values, 0)
    # the same energies a thousand million times apart: a parser deaf to case would give one number
    close(energy(potential, state, unit="meV"), 1e9 * energy(potential, state, unit="MeV"), 1e-12)


@pytest.mark.parametrize("wrong", [{"unit": "ev"}, {"unit": "A"}, {"unit": "eV/A"}, {"length_unit": "eV"}])
def test_a_unit_that_does_not_fit_is_refused(wrong: dict[str, str]) -> None:
    state = atoms_to_state(CASES["Stillinger-Weber"].crystal)
    with pytest.raises(InputError, match="unknown|measure different things"):
        energy(StillingerWeber(), state, explicit_gradients=GRADIENTS, **wrong)


def test_float32_states_get_energies_and_their_gradients_in_float64(case: Case) -> None:
    single = atoms_to_state(structures(case.crystal)["skewed"], dtype=torch.float32)
    for kind in ("system", "atom"):
        request = OutputRequest(sample_kind=kind, explicit_gradients=GRADIENTS)  # type: ignore[arg-type]
        got = case.make().outputs(single, {"energy": request})["energy"].block()
        want = case.make().outputs(single.to(dtype=torch.float64), {"energy": request})["energy"].block()
        for mine, its in ((got, want), *((got.gradient(g), want.gradient(g)) for g in GRADIENTS)):
            assert mine.values.dtype == torch.float64
            close(mine.values, its.values, 0)


class EnergyAlone(Potential):
    """What the least of programs gives."""

    cutoff, type_names, species_map = 3.0, ("Si",), {"Si": "Si"}

    @property
    def capabilities(self) -> Capabilities:
        support = Support(sample_kinds=("system",), selected_atoms=False)
        return Capabilities(
            outputs=("energy",), quantities={"energy": support}, atomic_types=self.type_names, interaction_range=3.0
        )

    def compute(self, state: SimState, *_: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"energy": state.positions.new_full((state.n_systems,), -1.5)}


def test_energies_of_systems_are_enough(three: SimState) -> None:
    assert energy(EnergyAlone(), three, unit="meV")[:, 0].tolist() == [-1500, -1500]
    for request in (OutputRequest(per_atom=True), OutputRequest(explicit_gradients=("positions",))):
        with pytest.raises(UnsupportedRequestError, match=r"it gives energy \(per system, not of selected atoms"):
            EnergyAlone().outputs(three, {"energy": request})


class Everything(Potential):
    """A potential that returns what only some models have; buffers as they are, to be handed out by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.cutoff, self.type_names, self.species_map = 3.0, ("Si",), {"Si": "Si"}
        self.register_buffer("charges", torch.tensor([0.25, -0.5, 0.75], dtype=torch.float64))

    @property
    def capabilities(self) -> Capabilities:
        of_systems = Support(sample_kinds=("system",), selected_atoms=False)
        return Capabilities(
            outputs=("energy", "forces", "virial"),
            quantities={
                "energy": Support(
                    sample_kinds=("system",), explicit_gradients={"system": GRADIENTS}, selected_atoms=False
                ),
                "charge": Support(),
                "non_conservative_force": Support(sample_kinds=("atom",)),
                "non_conservative_stress": of_systems,
            },
            atomic_types=self.type_names,
            interaction_range=3.0,
        )

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        ones = torch.ones(state.n_systems, dtype=torch.float64)
        return {
            "energy": 2 * ones,
            "forces": 3 * torch.ones_like(state.positions),
            "virial": -ones[:, None, None] * torch.arange(9, dtype=torch.float64).reshape(3, 3),
            "charge": self.charges,
            "non_conservative_force": state.positions,
            "non_conservative_stress": state.cell,
        }


@pytest.fixture
def three() -> SimState:
    return atoms_to_state([Atoms("Si2", [[0, 0, 0], [1, 2, 3]], cell=[4, 5, 6]), Atoms("Si", [[7, 8, 9]])])


def test_other_quantities_are_passed_on_with_their_labels(three: SimState) -> None:
    potential = Everything()
    asked = {
        "charges": OutputRequest(per_atom=True),
        "charge": OutputRequest("C"),
        "non_conservative_forces": OutputRequest("eV/nm", "atom"),
        "non_conservative_stress": OutputRequest("GPa"),
    }
    out = {name: tensor.block() for name, tensor in potential.outputs(three, asked).items()}
    assert list(out) == list(asked)
    assert out["charges"].samples.values.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert out["charges"].values.tolist() == [[0.25], [-0.5], [0.75]]
    assert out["charges"].properties.names == ["charge"]
    close(out["charge"].values[:, 0] / 1.602176634e-19, [-0.25, 0.75], 1e-14)
    force = out["non_conservative_forces"]
    close(force.values[..., 0], 10 * three.positions, 1e-14)
    assert ([axis.names for axis in force.components], force.properties.names) == (
        [["xyz"]],
        ["non_conservative_force"],
    )
    stress = out["non_conservative_stress"]
    close(stress.values[..., 0], 160.2176634 * three.cell, 1e-14)
    assert [axis.names for axis in stress.components] == [["xyz_1"], ["xyz_2"]]
    assert stress.samples.names == ["system"]


def test_no_output_is_a_buffer_an_input_or_another_output(three: SimState) -> None:
    potential = Everything()
    asked = {name: OutputRequest(per_atom=True) for name in ("charge", "charges", "non_conservative_force")}
    held = [potential.charges, three.positions]
    held += [tensor.block().values for tensor in potential.outputs(three, asked).values()]
    assert len({values.data_ptr() for values in held}) == len(held)


def test_a_new_quantity_is_a_new_row_of_the_table(three: SimState, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Standard(
        "dipole", ("atom", "system"), ("xyz",), "dipole", "e*A", (), "dipole moment", "this one", older=("mu",)
    )
    monkeypatch.setitem(STANDARD, "dipole", row)

    class Dipoles(Everything):
        @property
        def capabilities(self) -> Capabilities:
            general = super().capabilities
            return general.model_copy(update={"quantities": {**general.quantities, "dipole": Support()}})

        def compute(self, state: SimState, *rest: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
            return {**super().compute(state, *rest), "dipole": state.positions}  # type: ignore[arg-type]

    block = Dipoles().outputs(three, {"mu": OutputRequest("C*m")})["mu"].block()
    assert ([axis.names for axis in block.components], block.properties.names) == ([["xyz"]], ["dipole"])
    close(block.values[..., 0] / 1.602176634e-29, [[1, 2, 3], [7, 8, 9]], 1e-13)
    with pytest.raises(UnsupportedRequestError, match="dipole is given by this one"):
        Everything().outputs(three, {"dipole": OutputRequest()})


class OwnQuantities(Everything):
    """Brings a spin per atom, a tensor per system, and a name without a layout."""

    @property
    def capabilities(self) -> Capabilities:
        general = super().capabilities
        own = {
            "mine::spin": Support(layout=Layout("e*A", ("xyz",))),
            "mine::shape": Support(
                sample_kinds=("system",),
                selected_atoms=False,
                layout=Layout("A", ("xyz_1", "xyz_2"), "edge", exact=True),
            ),
            "mine::descriptor": Support(sample_kinds=("atom",), layout=Layout(properties="free")),
            "mine::bare": Support(),
        }
        return general.model_copy(update={"quantities": {**general.quantities, **own}})

    def compute(self, state: SimState, *rest: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        own = {"mine::spin": state.positions, "mine::shape": state.cell, "mine::descriptor": state.positions}
        return {**super().compute(state, *rest), **own}  # type: ignore[arg-type]


def test_a_potential_may_bring_rows_of_its_own(three: SimState) -> None:
    potential = OwnQuantities()
    asked = {
        "mine::spin": OutputRequest("C*m"),
        "mine::shape": OutputRequest("nm"),
        "mine::descriptor": OutputRequest(per_atom=True),
    }
    out = {name: output.block() for name, output in potential.outputs(three.to(dtype=torch.float32), asked).items()}
    spin, shape, descriptor = (out[name] for name in asked)
    assert ([axis.names for axis in spin.components], spin.properties.names) == ([["xyz"]], ["spin"])
    close(spin.values[..., 0].double() / 1.602176634e-29, [[1, 2, 3], [7, 8, 9]], 1e-6)
    assert ([axis.names for axis in shape.components], shape.properties.names) == ([["xyz_1"], ["xyz_2"]], ["edge"])
    close(shape.values[..., 0], three.cell / 10, 1e-14)
    assert (spin.values.dtype, shape.values.dtype) == (torch.float32, torch.float64)
    assert (descriptor.values.shape, descriptor.properties.names) == ((3, 3), ["descriptor"])
    some = Labels(["system", "atom"], torch.tensor([[1, 0]]))
    selected = potential.outputs(three, {"mine::spin": OutputRequest()}, some)["mine::spin"].block()
    close(selected.values[..., 0], [[0, 0, 0], [7, 8, 9]], 0)
    name = "mine::spin/mine"
    of_variant = Variants(Everything(), mine=potential).outputs(three, {name: OutputRequest()})[name].block()
    close(of_variant.values[..., 0], [[1, 2, 3], [7, 8, 9]], 0)


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        ("mine::bare", OutputRequest(), "'mine::bare' is no standard quantity; .*brings a layout for"),
        ("mine::other", OutputRequest(), "'mine::other' is no standard quantity"),
        (
            "mine::shape",
            OutputRequest(per_atom=True),
            "mine::shape per atom.*given by the potential that brings it",
        ),
        ("mine::spin", OutputRequest(explicit_gradients=("strain",)), "the explicit gradient 'strain' of mine::spin"),
    ],
)
def test_other_names_and_forms_of_its_own_are_refused(
    three: SimState, name: str, request_: OutputRequest, message: str
) -> None:
    with pytest.raises(UnsupportedRequestError, match=message):
        OwnQuantities().outputs(three, {name: request_})


def test_capabilities_with_own_layouts_survive_a_file() -> None:
    capabilities = OwnQuantities().capabilities
    assert Capabilities.model_validate_json(capabilities.model_dump_json()) == capabilities


class DeclaresTooMuch(Everything):
    """Claims forms of quantities that the table does not know."""

    @property
    def capabilities(self) -> Capabilities:
        too_much = {name: Support(explicit_gradients=BOTH) for name in ("charge", "non_conservative_stress")}
        return super().capabilities.model_copy(update={"quantities": too_much})


@pytest.mark.parametrize(
    ("name", "request_", "what"),
    [
        ("charge", OutputRequest(explicit_gradients=("strain",)), "the explicit gradient 'strain' of charge"),
        ("non_conservative_stress", OutputRequest(per_atom=True), "non_conservative_stress per atom"),
        ("non_conservative_stress", OutputRequest(), "non_conservative_stress of selected atoms"),
    ],
)
def test_what_the_table_does_not_know_is_refused(
    three: SimState, name: str, request_: OutputRequest, what: str
) -> None:
    some = Labels(["system", "atom"], torch.tensor([[0, 0]])) if "selected" in what else None
    with pytest.raises(UnsupportedRequestError, match=f"cannot give {what}; it gives"):
        DeclaresTooMuch().outputs(three, {name: request_}, some)


def test_charges_of_some_atoms_in_their_order(three: SimState) -> None:
    some = Labels(["system", "atom"], torch.tensor([[1, 0], [0, 1]], dtype=torch.int32))
    asked = {"charge": OutputRequest(per_atom=True)}
    assert Everything().outputs(three, asked, some)["charge"].block().values[:, 0].tolist() == [0.75, -0.5]
    asked = {"charge": OutputRequest()}
    assert Everything().outputs(three, asked, some)["charge"].block().values[:, 0].tolist() == [-0.5, 0.75]


def test_a_potential_without_atomic_energies_serves_systems(three: SimState) -> None:
    block = Everything().outputs(three, {"energy": OutputRequest(explicit_gradients=("strain",))})["energy"].block()
    assert block.values[:, 0].tolist() == [2, 2]
    assert block.gradients_list() == ["strain"]
    close(block.gradient("strain").values[0, ..., 0], np.arange(9).reshape(3, 3), 0)
    with pytest.raises(UnsupportedRequestError, match="energy per atom; it gives energy"):
        Everything().outputs(three, {"energy": OutputRequest(per_atom=True)})


ALLEGRO = {"num_layers": 1, "l_max": 1, "num_scalar_features": 6, "num_tensor_features": 4, "parity": False}


@pytest.mark.parametrize("architecture", ["nequip", "allegro"])
def test_features_are_what_the_energy_is_read_from(architecture: str) -> None:
    """Linear readouts of all features give the energies back, up to scale and shift."""
    config = {"cutoff": 3.6, "type_names": ["Ar", "Kr"], "mean_neighbors": 12.0, "model_dtype": "float64"}
    config |= {"num_layers": 2, "num_features": 6, "readout_mlp_depth": 0} if architecture == "nequip" else ALLEGRO
    config["readout_mlp_depth"] = 0
    spec = ArchitectureSpec(name=architecture, config=config)
    potential = LearnedPotential(spec, species_map={"Ar": "Ar", "Kr": "Kr"})
    potential.model.set_scales_shifts([1.3, 0.7], [-2.0, 5.0])
    crystal = CASES["NequIP"].crystal
    state = atoms_to_state([structures(crystal)[name] for name in ("skewed", "cluster")])
    types = potential.type_map()(state)
    features = potential.outputs(state, {"feature": OutputRequest(per_atom=True)})["feature"].block()
    assert features.properties.names == ["feature"]
    readout = potential.model.readout(features.values)[:, 0]
    scale, shift = (torch.tensor(values, dtype=torch.float64)[types] for values in ([1.3, 0.7], [-2.0, 5.0]))
    close(scale * readout + shift, energy(potential, state, "atom")[:, 0], 1e-12)
    total = potential.outputs(state, {"feature": OutputRequest()})["feature"].block().values
    close(total[0], features.values[: len(crystal)].sum(0), 1e-12)


def test_features_carry_the_callers_graph_and_come_in_its_dtype() -> None:
    case = CASES["NequIP"]
    state = atoms_to_state(case.crystal, dtype=torch.float32)
    state = state.replace(positions=state.positions.clone().requires_grad_())
    values = case.make().outputs(state, {"feature": OutputRequest(per_atom=True)})["feature"].block().values
    assert values.dtype == torch.float32
    assert values.requires_grad


def test_variants_carry_the_labels_of_the_base() -> None:
    soft = LennardJones({"Ar": (0.5, 2.2), "Kr": (0.6, 2.4)}, 4.5)
    main, crystal = CASES["Lennard-Jones, switched"]
    potential = Variants(main(), soft=soft)
    state = atoms_to_state(structures(crystal)["skewed"])
    request = OutputRequest("meV", "atom", GRADIENTS)
    out = potential.outputs(state, {"energy": request, "energy/soft": request})
    for name, alone in (("energy", main()), ("energy/soft", soft)):
        own, expected = out[name].block(), alone.outputs(state, {"energy": request})["energy"].block()
        assert own.samples == expected.samples
        assert own.properties.names == ["energy"]
        close(own.values, expected.values, 1e-13)
        close(own.gradient("positions").values, expected.gradient("positions").values, 1e-13)
    native = potential(state, neighbor_list(state, potential.cutoff), ("energy", "forces"))
    close(native["forces"], main()(state, neighbor_list(state, main().cutoff), ("forces",))["forces"], 0)
    assert "heat_flux/soft" in potential.capabilities.quantities
    with pytest.raises(UnsupportedRequestError, match="'energy/hard'; it gives energy"):
        potential.outputs(state, {"energy/hard": request})
    with pytest.raises(InputError, match="a variant must have the same atom types"):
        Variants(main(), other=StillingerWeber())


def test_lists_and_types_of_the_caller_are_used(case: Case) -> None:
    potential, state = case.make(), atoms_to_state(case.crystal)
    wide = neighbor_list(state, potential.cutoff, 0.5)
    types = potential.type_map()(state)
    request = {"energy": OutputRequest(explicit_gradients=GRADIENTS)}
    got = potential.outputs(state, request, None, wide, types)["energy"].block()
    want = potential.outputs(state, request)["energy"].block()
    close(got.values, want.values, 1e-12)
    close(got.gradient("positions").values, want.gradient("positions").values, 1e-12)
    with pytest.raises(InputError, match="the neighbour list ends at"):
        potential.outputs(state, request, None, neighbor_list(state, 0.9 * potential.cutoff))


def silicon() -> SimState:
    return atoms_to_state(structures(CASES["Stillinger-Weber"].crystal)["skewed"])


def test_compiled_files_give_what_their_package_gives(compiled_silicon: Path, silicon_package: Path) -> None:
    file, package = CompiledPotential(compiled_silicon), LearnedPotential.from_package(silicon_package)
    types = torch.zeros(silicon().n_atoms, dtype=torch.int64)
    some = Labels(["system", "atom"], torch.tensor([[0, 5], [0, 2]], dtype=torch.int32))
    for kind in ("system", "atom"):
        for selected in (None, some):
            request = {"energy": OutputRequest("eV", kind, GRADIENTS)}  # type: ignore[arg-type]
            got, want = (
                p.outputs(silicon(), request, selected, None, types)["energy"].block() for p in (file, package)
            )
            close(got.values, want.values, 5e-5)
            for name in GRADIENTS:
                assert got.gradient(name).samples == want.gradient(name).samples
                close(got.gradient(name).values, want.gradient(name).values, 5e-5)


def test_compiled_files_say_what_they_do_not_serve(scripted_silicon: Path) -> None:
    file, state = CompiledPotential(scripted_silicon), silicon()
    support = file.capabilities.quantities["energy"]
    assert (support.explicit_gradients, support.selected_atoms, support.differentiable) == (BOTH, True, False)
    types = torch.zeros(state.n_atoms, dtype=torch.int64)
    attached = state.replace(positions=state.positions.clone().requires_grad_())
    with pytest.raises(
        UnsupportedRequestError, match=r"positions requires a gradient: detach it; it gives energy.*shoal p"
    ):
        file.outputs(attached, {"energy": OutputRequest()}, None, None, types)
    with torch.no_grad():
        file.outputs(attached, {"energy": OutputRequest()}, None, None, types)
    with pytest.raises(UnsupportedRequestError, match="'feature'.*feature is given by .shoal packages"):
        file.outputs(state, {"feature": OutputRequest()}, None, None, types)
    with pytest.raises(UnsupportedRequestError, match="'energy_uncertainty'.*is given by a Committee"):
        file.outputs(state, {"energy_uncertainty": OutputRequest()}, None, None, types)


def test_nequips_files_give_values_and_gradients_of_whole_systems(tmp_path: Path) -> None:
    file, state = CompiledNequIP(write_torchscript(tmp_path / "pair.nequip.pth")), silicon()
    types = torch.zeros(state.n_atoms, dtype=torch.int64)
    native = file(
        state, neighbor_list(state, file.cutoff), ("energy", "atomic_energy", "forces", "virial"), atom_types=types
    )

    def asked(kind: str, gradients: tuple[str, ...] = (), selected: Labels | None = None):  # type: ignore[no-untyped-def]
        request = OutputRequest(sample_kind=kind, explicit_gradients=gradients)  # type: ignore[arg-type]
        return file.outputs(state, {"energy": request}, selected, None, types)["energy"].block()

    close(asked("atom").values[:, 0], native["atomic_energy"], 1e-13)
    block = asked("system", GRADIENTS)
    close(block.values[:, 0], native["energy"], 1e-13)
    close(block.gradient("positions").values[..., 0], -native["forces"], 1e-13)
    close(block.gradient("strain").values[..., 0], -native["virial"], 1e-13)
    some = Labels(["system", "atom"], torch.zeros(1, 2, dtype=torch.int32))
    served = "is given by every potential; .shoal packages and other eager potentials give it in every form"
    with pytest.raises(UnsupportedRequestError, match=f"gradient 'positions' of energy per atom.*{served}"):
        asked("atom", ("positions",))
    with pytest.raises(UnsupportedRequestError, match=f"energy of selected atoms.*{served}"):
        asked("system", (), some)
    with pytest.raises(UnsupportedRequestError, match="'heat_flux'"):
        file.outputs(state, {"heat_flux": OutputRequest()}, None, None, types)
