"""Laws that every NequIP obeys, whatever its settings."""

import copy
from typing import Any

import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.architectures.clusters import (
    CUTOFF,
    SKIN,
    cluster,
    edge_index,
    energies,
    energies_and_forces,
    model,
    types_of,
    vectors,
)

from shoal.architectures import NequIP
from shoal.architectures.nequip import layer_channels
from shoal.testing import close

UNEVEN = {"A": {"A": 2.9, "B": 2.4}, "B": 3.0}
ZBL = {"species": {"A": "C", "B": "O"}}
EVERYTHING = {
    "num_layers": 3,
    "l_max": 1,
    "parity": False,
    "readout_mlp_depth": 1,
    "readout_mlp_width": 5,
    "readout_mlp_nonlinearity": "gelu",
    "nonlinearity": "norm",
    "resnet": True,
    "bessel_trainable": True,
    "mean_neighbors": (0.3, 0.5),
    "per_edge_type_cutoff": UNEVEN,
    "zbl": ZBL,
}
# parity on and off differ only from four layers on: what fewer layers add cannot reach an energy
EVERY_KIND = [
    pytest.param({"l_max": l_max, "parity": parity, "num_layers": 4}, id=f"l{l_max}-{'parity' if parity else 'plain'}")
    for l_max in range(4)
    for parity in (True, False)
]
OPTIONS = [
    pytest.param({"l_max": 2, "num_layers": 1}, id="one layer"),
    pytest.param({"l_max": 2, "num_features": (4, 3, 2), "type_embedding_size": 3}, id="features per degree"),
    pytest.param({"mean_neighbors": (0.3, 0.8)}, id="neighbours per type"),
    pytest.param({"bessel_trainable": True, "num_bessels": 5, "polynomial_cutoff_p": 4}, id="radial basis"),
    pytest.param({"radial_mlp_depth": 0}, id="linear radial network"),
    pytest.param({"type_embedding_size": 1}, id="fewer embedding features than types"),
    pytest.param({"readout_mlp_depth": 2, "readout_mlp_nonlinearity": "mish"}, id="deep readout"),
    pytest.param({"readout_mlp_depth": 1, "readout_mlp_nonlinearity": None}, id="linear readout"),
    pytest.param({"nonlinearity": "norm", "l_max": 2, "num_layers": 3}, id="norm nonlinearity"),
    pytest.param({"resnet": True, "l_max": 2, "parity": False, "num_layers": 4}, id="resnet"),
    pytest.param({"self_connection": False}, id="no self-connection"),
    pytest.param({"per_edge_type_cutoff": UNEVEN}, id="cutoffs per pair"),
    pytest.param({"zbl": ZBL}, id="ZBL"),
    pytest.param(EVERYTHING, id="everything"),
]


def rotation(seed: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(random_state=seed).as_matrix())


@pytest.mark.parametrize("settings", [*EVERY_KIND, *OPTIONS])
def test_energies_are_invariant_and_forces_turn_along(settings: dict[str, Any]) -> None:
    nequip, positions, types = model(**settings), cluster(), types_of(8)
    energy, forces = energies_and_forces(nequip, positions, types)
    assert energy.std() > 0.1
    assert forces.abs().max() > 0.01
    for matrix in (rotation(1), rotation(2), -torch.eye(3, dtype=torch.float64), -rotation(3)):
        turned_energy, turned_forces = energies_and_forces(nequip, positions @ matrix.T, types)
        close(turned_energy, energy, 1e-9)
        close(turned_forces, forces @ matrix.T, 1e-9)


def test_both_parities_are_at_work() -> None:
    """Odd scalars and even vectors exist in the middle of a deep model and change its energies, invariantly."""
    deep = model(l_max=2, num_layers=6, mean_neighbors=0.1)
    present = {str(irrep) for channels in layer_channels(deep.config) for irrep in channels}
    assert {"0o", "1e", "2o"} <= present
    positions, types = cluster(), types_of(8)
    before = energies(deep, positions, types)
    close(energies(deep, -positions, types), before, 1e-9)
    close(energies(deep, positions @ rotation(1).T, types), before, 1e-9)
    for irrep in ("0o", "1e", "2o"):
        without = copy.deepcopy(deep)
        with torch.no_grad():
            for layer in without.layers:
                if irrep in layer.linear_in.weight:
                    layer.linear_in.weight[irrep].zero_()
        assert (energies(without, positions, types) - before).abs().max() > 1e-4


@pytest.mark.parametrize("settings", [*EVERY_KIND[2:6], *OPTIONS])
def test_forces_are_central_differences(settings: dict[str, Any]) -> None:
    nequip, positions, types = model(**settings), cluster(6), types_of(6)
    _, forces = energies_and_forces(nequip, positions, types)
    h = 1e-4
    for atom, axis in ((0, 0), (3, 2), (5, 1)):
        shifted = [positions.clone(), positions.clone()]
        shifted[0][atom, axis] += h
        shifted[1][atom, axis] -= h
        up, down = (energies(nequip, moved, types).sum().item() for moved in shifted)
        close([-(up - down) / (2 * h)], forces[atom, axis : axis + 1], 1e-6, scale=forces.abs().max().item())


@pytest.mark.parametrize("settings", OPTIONS)
def test_numbering_of_atoms_and_order_of_edges_do_not_matter(settings: dict[str, Any]) -> None:
    nequip, positions, types = model(**settings), cluster(), types_of(8)
    expected, forces = energies_and_forces(nequip, positions, types)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    permuted_energies, permuted_forces = energies_and_forces(nequip, positions[order], types[order])
    close(permuted_energies, expected[order], 1e-12)
    close(permuted_forces, forces[order], 1e-12)
    index = edge_index(positions)
    shuffled = index[:, torch.randperm(index.shape[1], generator=torch.Generator().manual_seed(1))]
    close(nequip(vectors(positions, shuffled), shuffled, types), expected, 1e-12)


@pytest.mark.parametrize("settings", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_isolated_atom_has_exactly_its_shift(settings: dict[str, Any], dtype: str) -> None:
    nequip = model(**{**settings, "model_dtype": dtype})
    empty = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    no_edges = torch.zeros(2, 0, dtype=torch.int64)
    for kind, shift in enumerate(nequip.scale_shift.shifts):
        energy = nequip(empty, no_edges, torch.tensor([kind]))
        assert energy.tolist() == [shift.item()]
        (gradient,) = torch.autograd.grad(energy.sum(), empty)
        assert gradient.shape == (0, 3)


@pytest.mark.parametrize("settings", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_beyond_the_cutoff_do_nothing(settings: dict[str, Any], dtype: str) -> None:
    """Edges of the skin and of padding: exactly no energy, exactly no gradient, at both derivatives."""
    nequip = model(**{**settings, "model_dtype": dtype})
    lengths = torch.tensor([CUTOFF, CUTOFF + 1e-9, CUTOFF + SKIN, 2 * CUTOFF, 10 * CUTOFF], dtype=torch.float64)
    long = (lengths[:, None] * rotation(4)[0]).requires_grad_()
    index = torch.tensor([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]])
    energy = nequip(long, index, torch.tensor([0, 1]))
    assert torch.equal(energy.detach(), nequip.scale_shift.shifts.detach())
    (gradient,) = torch.autograd.grad(energy.sum(), long, create_graph=True)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    (second,) = torch.autograd.grad(gradient.sum(), long)
    assert torch.equal(second, torch.zeros_like(second))


@pytest.mark.parametrize("settings", [*EVERY_KIND[2:6], OPTIONS[3]])
def test_energy_and_force_go_smoothly_to_zero_at_the_cutoff(settings: dict[str, Any]) -> None:
    """A pair's energy falls as (r_c - r)^4, its force as (r_c - r)^3 (envelope and sine)."""
    nequip = model(**settings)

    def pair(gap: float) -> tuple[float, float]:
        positions = torch.tensor([[0, 0, 0], [0.6, 0.0, 0.8]], dtype=torch.float64)
        positions[1] *= CUTOFF - gap
        energy, forces = energies_and_forces(nequip, positions, torch.tensor([0, 1]))
        return (energy - nequip.scale_shift.shifts).abs().sum().item(), forces.norm().item()

    (wide_energy, wide_force), (narrow_energy, narrow_force) = pair(1e-2), pair(5e-3)
    assert wide_energy / narrow_energy == pytest.approx(16, rel=0.05)
    assert wide_force / narrow_force == pytest.approx(8, rel=0.05)
    assert pair(0) == (0, 0)
    assert pair(-1e-3) == (0, 0)


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("zbl", [None, ZBL])
def test_each_direction_of_a_pair_ends_smoothly_at_its_own_cutoff(kind: str, zbl: dict[str, Any] | None) -> None:
    """The energy of an atom feels another up to the cutoff from its own type to the other's."""
    nequip = model(per_edge_type_cutoff=UNEVEN, zbl=zbl)
    cutoff = {"A": 2.4, "B": 3.0}[kind]
    atom = "AB".index(kind)

    def energy(gap: float) -> float:
        positions = torch.tensor([[0, 0, 0], [0.6, 0.0, 0.8]], dtype=torch.float64)
        positions[1] *= cutoff - gap
        values = energies(nequip, positions, torch.tensor([0, 1]))
        return abs((values - nequip.scale_shift.shifts)[atom].item())

    # envelope and sine: as gap^4; the repulsion has no sine
    assert energy(2e-3) / energy(1e-3) == pytest.approx(16 if zbl is None else 8, rel=0.1)
    assert energy(0) == energy(-1e-3) == 0
    assert energy(0.5) > 1e-3


@pytest.mark.parametrize("settings", [*EVERY_KIND, *OPTIONS])
def test_energy_is_extensive(settings: dict[str, Any]) -> None:
    """Two structures side by side, out of each other's sight or in one batch, have the energies they have alone."""
    nequip = model(**settings)
    first, second = cluster(8, seed=1), cluster(5, seed=2)
    both = torch.cat([first, second + 100])
    energy, forces = energies_and_forces(nequip, both, torch.cat([types_of(8), types_of(5)]))
    alone = [energies_and_forces(nequip, positions, types_of(len(positions))) for positions in (first, second)]
    close(energy, torch.cat([values for values, _ in alone]), 1e-12)
    close(forces, torch.cat([values for _, values in alone]), 1e-12)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_influence_ends_at_the_interaction_range(num_layers: int) -> None:
    nequip = model(num_layers=num_layers)
    assert nequip.interaction_range == num_layers * CUTOFF
    chain = torch.zeros(6, 3, dtype=torch.float64)
    chain[:, 0] = 0.8 * CUTOFF * torch.arange(6)
    reference = energies(nequip, chain, types_of(6))[0].item()
    for atom in range(1, 6):
        moved = chain.clone()
        moved[atom, 1] += 0.3
        changed = energies(nequip, moved, types_of(6))[0].item() != reference
        assert changed == (atom <= num_layers)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_strictly_local_means_only_edges_centred_at_the_atom_count(num_layers: int) -> None:
    nequip, positions = model(num_layers=num_layers), cluster()
    index = edge_index(positions)
    own = index[:, index[0] == 0]
    alone = nequip(vectors(positions, own), own, types_of(8))[0].item()
    together = nequip(vectors(positions, index), index, types_of(8))[0].item()
    assert nequip.strictly_local == (num_layers == 1)
    assert (abs(alone - together) < 1e-12) == nequip.strictly_local


@pytest.mark.parametrize("settings", [{"l_max": 2}, EVERYTHING])
def test_second_derivatives_for_training_on_forces(settings: dict[str, Any]) -> None:
    nequip = model(**settings, num_features=2, radial_mlp_width=3, num_bessels=3)
    positions = cluster(3)
    index = edge_index(positions)

    def energy(edge_vectors: torch.Tensor) -> torch.Tensor:
        return nequip(edge_vectors, index, types_of(3)).sum()

    assert torch.autograd.gradgradcheck(energy, (vectors(positions, index).requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("name", ["type_embedding", "basis.orders", "layers.0.convolution.radial.weights.0", "scale"])
def test_gradients_of_a_force_loss_reach_the_parameters(name: str) -> None:
    nequip = model(bessel_trainable=True, scales_trainable=True)
    parameter = nequip.scale_shift.scales if name == "scale" else nequip.get_parameter(name)
    positions, types = cluster(4), types_of(4)

    def loss() -> torch.Tensor:
        moving = positions.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energies(nequip, moving, types).sum(), moving, create_graph=True)
        return (gradient**2).sum()

    (analytic,) = torch.autograd.grad(loss(), parameter)
    entry, h = (0,) * parameter.dim(), 1e-5
    with torch.no_grad():
        value = parameter[entry].item()
        parameter[entry] = value + h
    up = loss().item()
    with torch.no_grad():
        parameter[entry] = value - h
    down = loss().item()
    close([(up - down) / (2 * h)], analytic[entry].reshape(1), 1e-6, scale=analytic.abs().max().item())


@pytest.mark.parametrize("settings", [*EVERY_KIND, *OPTIONS])
def test_float32_core_is_close_to_float64(settings: dict[str, Any]) -> None:
    exact, rounded = model(**settings), model(**settings, model_dtype="float32")
    positions, types = cluster(), types_of(8)
    energy, forces = energies_and_forces(rounded, positions, types)
    assert energy.dtype == forces.dtype == torch.float64
    exact_energy, exact_forces = energies_and_forces(exact, positions, types)
    shifts = exact.scale_shift.shifts[types]
    close(energy - shifts, exact_energy - shifts, 5e-5)
    close(forces, exact_forces, 5e-5)


def test_a_residual_layer_of_zero_weights_changes_nothing() -> None:
    """Where a layer holds the same irreps before and after; never in the first or, for l_max > 0, the last."""
    deep = model(resnet=True, l_max=2, parity=False, num_layers=5)
    positions, types = cluster(), types_of(8)
    before = energies(deep, positions, types)
    with torch.no_grad():
        for part in (deep.layers[2].linear_out, deep.layers[2].self_connection):
            for weight in part.weight.values():
                weight.zero_()
    zeroed = energies(deep, positions, types)
    assert (zeroed - before).abs().max() > 1e-3
    del deep.layers[2]
    assert torch.equal(energies(deep, positions, types), zeroed)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"l_max": 2, "parity": False, "num_layers": 4}, [False, True, True, False]),
        ({"l_max": 0, "num_layers": 3}, [False, True, True]),
        # each layer reaches irreps that the one before it did not
        ({"l_max": 2, "parity": True, "num_layers": 4}, [False, False, False, False]),
        ({"l_max": 2, "parity": True, "num_layers": 6}, [False, False, False, True, True, False]),
    ],
)
def test_residuals_are_where_input_and_output_hold_the_same(settings: dict[str, Any], where: list[bool]) -> None:
    assert [layer.residual for layer in model(resnet=True, **settings).layers] == where
    assert not any(layer.residual for layer in model(**settings).layers)


def test_nuclei_repel() -> None:
    """At 0.2 A the repulsion is hundreds of eV, whatever the weights, and the force drives the atoms apart."""
    positions, types = torch.tensor([[0, 0, 0], [0.0, 0.0, 0.2]], dtype=torch.float64), torch.tensor([0, 1])
    energy, forces = energies_and_forces(model(zbl=ZBL), positions, types)
    bare, _ = energies_and_forces(model(), positions, types)
    assert (energy - bare).sum() > 500
    assert forces[1, 2] > 1000
    assert (energy - bare)[0].item() == pytest.approx((energy - bare)[1].item(), rel=1e-12)


def test_reference_energies_do_not_cost_digits() -> None:
    nequip, positions, types = model(model_dtype="float32"), cluster(), types_of(8)
    near, _ = energies_and_forces(nequip, positions, types)
    shifts = nequip.scale_shift.shifts.clone()
    nequip.set_scales_shifts(nequip.scale_shift.scales.clone(), shifts - 20_000)
    far, _ = energies_and_forces(nequip, positions, types)
    close(far + 20_000, near, 1e-10)


class TestWeights:
    def test_follow_from_the_seed_alone(self) -> None:
        state = torch.get_rng_state()
        torch.manual_seed(11)
        first = model(seed=1).state_dict()
        torch.manual_seed(12)
        before = torch.get_rng_state()
        second = model(seed=1).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        torch.set_rng_state(state)
        other = model(seed=2).state_dict()
        for name, values in first.items():
            assert torch.equal(values, second[name])
        assert not torch.equal(first["type_embedding"], other["type_embedding"])

    def test_are_the_same_in_both_precisions(self) -> None:
        double, single = model().state_dict(), model(model_dtype="float32").state_dict()
        for name, values in double.items():
            assert torch.equal(values.to(single[name].dtype), single[name])

    def test_do_not_depend_on_the_default_dtype(self) -> None:
        expected = model(model_dtype="float32").state_dict()
        torch.set_default_dtype(torch.float64)
        try:
            actual = model(model_dtype="float32")
            energy = energies(actual, cluster(), types_of(8))
        finally:
            torch.set_default_dtype(torch.float32)
        for name, values in actual.state_dict().items():
            assert values.dtype == expected[name].dtype
            assert torch.equal(values, expected[name])
        assert torch.equal(energy, energies(model(model_dtype="float32"), cluster(), types_of(8)))

    def test_are_plain_separate_tensors(self) -> None:
        state = model(l_max=2, num_layers=3).state_dict()
        assert all(type(values) is torch.Tensor and values.is_contiguous() for values in state.values())
        assert len({values.untyped_storage().data_ptr() for values in state.values()}) == len(state)

    @pytest.mark.parametrize("settings", [{}, {"parity": False, "resnet": True}, {"nonlinearity": "norm"}])
    def test_none_is_idle(self, settings: dict[str, Any]) -> None:
        """What cannot reach an energy is not built."""
        nequip = model(l_max=2, num_layers=4, **settings)
        energies(nequip, cluster(), types_of(8)).sum().backward()
        for name, parameter in nequip.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


class TestTracing:
    """The graph of energies and gradients holds for any number of atoms and edges."""

    @pytest.fixture(params=[{"l_max": 2, "num_layers": 3}, EVERYTHING], ids=["defaults", "everything"])
    def nequip(self, request: pytest.FixtureRequest) -> NequIP:
        return model(**request.param).requires_grad_(False)

    @pytest.fixture
    def traced(self, nequip: NequIP) -> Any:
        from torch.fx.experimental.proxy_tensor import make_fx

        def function(edge_vectors: torch.Tensor, index: torch.Tensor, types: torch.Tensor) -> list[torch.Tensor]:
            moving = edge_vectors.detach().requires_grad_()
            energy = nequip(moving, index, types)
            (gradient,) = torch.autograd.grad(energy.sum(), moving)
            return [energy.detach(), gradient]

        graph = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*self.inputs(7))
        return function, graph

    @staticmethod
    def inputs(n_atoms: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        positions = cluster(n_atoms)
        index = edge_index(positions)
        return vectors(positions, index), index, types_of(n_atoms)

    @pytest.mark.parametrize("nequip", [pytest.param(EVERYTHING, id="everything")], indirect=True)
    def test_symbolic_graph_and_export(self, traced: Any) -> None:
        from torch.export import Dim, export

        function, graph = traced
        n_atoms, n_edges = Dim("n_atoms", min=2), Dim("n_edges", min=2)
        sizes = ({0: n_edges}, {1: n_edges}, {0: n_atoms})
        exported = export(graph, self.inputs(7), dynamic_shapes=sizes, strict=False).module()
        for size in (2, 5, 9):
            for made in (graph, exported):
                for actual, expected in zip(made(*self.inputs(size)), function(*self.inputs(size)), strict=True):
                    close(actual, expected, 1e-12)

    def test_torchscript(self, nequip: NequIP, tmp_path: Any) -> None:
        torch.jit.trace(nequip, self.inputs(7)).save(tmp_path / "traced.pt")
        loaded = torch.jit.load(tmp_path / "traced.pt")
        for size in (2, 5, 9):
            close(loaded(*self.inputs(size)), nequip(*self.inputs(size)), 1e-12)
        alone = (torch.zeros(0, 3, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.int64), torch.tensor([1]))
        assert loaded(*alone).tolist() == nequip(*alone).tolist()
