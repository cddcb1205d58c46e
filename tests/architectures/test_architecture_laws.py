"""Laws that every architecture obeys, whatever its settings."""

from pathlib import Path

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
    types_of,
    vectors,
)
from tests.architectures.small_models import EVERY_CASE, EVERYTHING, OPTIONS, SOME_OF_EACH, SPLINE, Case

from shoal.architectures import ARCHITECTURES
from shoal.testing import close


def rotation(seed: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(random_state=seed).as_matrix())


def test_every_architecture_is_among_them() -> None:
    assert set(OPTIONS) == set(ARCHITECTURES)


@EVERY_CASE
def test_energies_are_invariant_and_forces_turn_along(case: Case) -> None:
    model, positions, types = case.model(), cluster(), types_of(8)
    energy, forces = energies_and_forces(model, positions, types)
    assert energy.std() > 0.1
    assert forces.abs().max() > 0.01
    for matrix in (rotation(1), rotation(2), -torch.eye(3, dtype=torch.float64), -rotation(3)):
        turned_energy, turned_forces = energies_and_forces(model, positions @ matrix.T, types)
        close(turned_energy, energy, 1e-9)
        close(turned_forces, forces @ matrix.T, 1e-9)


@EVERY_CASE
def test_forces_are_central_differences(case: Case) -> None:
    model, positions, types = case.model(), cluster(6), types_of(6)
    _, forces = energies_and_forces(model, positions, types)
    h = 1e-5
    for atom, axis in ((0, 0), (3, 2), (5, 1)):
        step = torch.zeros_like(positions)
        step[atom, axis] = h
        up, down = (energies(model, positions + sign * step, types).sum().item() for sign in (1, -1))
        close([-(up - down) / (2 * h)], forces[atom, axis : axis + 1], 1e-6, scale=forces.abs().max().item())


@EVERY_CASE
def test_numbering_of_atoms_and_order_of_edges_do_not_matter(case: Case) -> None:
    model, positions, types = case.model(), cluster(), types_of(8)
    expected, forces = energies_and_forces(model, positions, types)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    permuted_energies, permuted_forces = energies_and_forces(model, positions[order], types[order])
    close(permuted_energies, expected[order], 1e-12)
    close(permuted_forces, forces[order], 1e-12)
    index = edge_index(positions)
    shuffled = index[:, torch.randperm(index.shape[1], generator=torch.Generator().manual_seed(1))]
    close(model(vectors(positions, shuffled), shuffled, types), expected, 1e-12)


@EVERY_CASE
def test_energy_is_extensive(case: Case) -> None:
    """Two structures side by side, out of each other's sight or in one batch, have the energies they have alone."""
    model = case.model()
    first, second = cluster(8, seed=1), cluster(5, seed=2)
    both = torch.cat([first, second + 100])
    energy, forces = energies_and_forces(model, both, torch.cat([types_of(8), types_of(5)]))
    alone = [energies_and_forces(model, positions, types_of(len(positions))) for positions in (first, second)]
    close(energy, torch.cat([values for values, _ in alone]), 1e-12)
    close(forces, torch.cat([values for _, values in alone]), 1e-12)


@EVERY_CASE
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_isolated_atom_has_exactly_its_shift(case: Case, dtype: str) -> None:
    model = case.model(model_dtype=dtype)
    empty = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    no_edges = torch.zeros(2, 0, dtype=torch.int64)
    for kind, shift in enumerate(model.scale_shift.shifts):
        energy = model(empty, no_edges, torch.tensor([kind]))
        assert energy.tolist() == [shift.item()]
        (gradient,) = torch.autograd.grad(energy.sum(), empty)
        assert gradient.shape == (0, 3)


@EVERY_CASE
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_beyond_the_cutoff_do_nothing(case: Case, dtype: str) -> None:
    """Edges of the skin and of padding: exactly no energy, exactly no gradient, at both derivatives."""
    model = case.model(model_dtype=dtype)
    lengths = torch.tensor([CUTOFF, CUTOFF + 1e-9, CUTOFF + SKIN, 2 * CUTOFF, 10 * CUTOFF], dtype=torch.float64)
    long = (lengths[:, None] * rotation(4)[0]).requires_grad_()
    index = torch.tensor([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]])
    energy = model(long, index, torch.tensor([0, 1]))
    assert torch.equal(energy.detach(), model.scale_shift.shifts.detach())
    (gradient,) = torch.autograd.grad(energy.sum(), long, create_graph=True)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    (second,) = torch.autograd.grad(gradient.sum(), long)
    assert torch.equal(second, torch.zeros_like(second))


@EVERY_CASE
def test_a_long_edge_changes_nothing_among_short_ones(case: Case) -> None:
    """Exactly: the surroundings of a short edge hold nothing of an edge beyond the cutoff."""
    model, positions, types = case.model(), cluster(), types_of(8)
    within = edge_index(positions, CUTOFF)
    padded = torch.cat([within, torch.tensor([[0, 3, 7], [1, 1, 2]])], dim=1)
    beyond = (CUTOFF + SKIN) * rotation(5)
    padded_vectors = torch.cat([vectors(positions, within), beyond])
    assert torch.equal(model(padded_vectors, padded, types), model(vectors(positions, within), within, types))


@EVERY_CASE
def test_energy_and_force_go_smoothly_to_zero_at_the_cutoff(case: Case) -> None:
    """A pair's energy falls as a power of r_c - r, its force as one lower.

    The 4th (envelope and sine, or the last spline), the 8th if all an atom has comes by two layers, the 3rd of ZBL.
    """
    model = case.model(per_edge_type_cutoff=None)
    power = 3 if "zbl" in case.settings else 4 if case.has("self_connection", True) else 8
    # no shifts, whose digits would hide small energies; beside ZBL a network, which falls faster, that does not tell
    model.set_scales_shifts(1e-3 if "zbl" in case.settings else 10.0, 0.0)

    def pair(gap: float) -> tuple[float, float]:
        positions = torch.tensor([[0, 0, 0], [0.6, 0.0, 0.8]], dtype=torch.float64)
        positions[1] *= CUTOFF - gap
        energy, forces = energies_and_forces(model, positions, torch.tensor([0, 1]))
        return energy.abs().sum().item(), forces.norm().item()

    (wide_energy, wide_force), (narrow_energy, narrow_force) = pair(1e-2), pair(5e-3)
    assert wide_energy / narrow_energy == pytest.approx(2**power, rel=0.05)
    assert wide_force / narrow_force == pytest.approx(2 ** (power - 1), rel=0.05)
    assert pair(0) == (0, 0)
    assert pair(-1e-3) == (0, 0)


@EVERY_CASE
def test_influence_ends_at_the_interaction_range(case: Case) -> None:
    model = case.model(per_edge_type_cutoff=None)
    reach = 1 if case.architecture == "allegro" else case.has("num_layers", None)
    assert model.interaction_range == reach * CUTOFF
    chain = torch.zeros(6, 3, dtype=torch.float64)
    chain[:, 0] = 0.8 * CUTOFF * torch.arange(6)
    reference = energies(model, chain, types_of(6))[0].item()
    for atom in range(1, 6):
        moved = chain.clone()
        moved[atom, 1] += 0.3
        assert (energies(model, moved, types_of(6))[0].item() != reference) == (atom <= reach)


@EVERY_CASE
def test_strictly_local_means_only_edges_centred_at_the_atom_count(case: Case) -> None:
    """Energies, and their derivatives in edge vectors: what atomic stresses and heat fluxes are made of."""
    model, positions = case.model(), cluster()
    index = edge_index(positions)
    own = index[:, index[0] == 0]
    alone = model(vectors(positions, own), own, types_of(8))[0].item()
    edges = vectors(positions, index).requires_grad_()
    energy = model(edges, index, types_of(8))[0]
    (gradient,) = torch.autograd.grad(energy, edges)
    elsewhere = gradient[index[0] != 0]
    assert model.strictly_local == (case.architecture == "allegro" or case.has("num_layers", None) == 1)
    assert (abs(alone - energy.item()) < 1e-12) == model.strictly_local
    assert bool((elsewhere == 0).all()) == model.strictly_local


@SOME_OF_EACH
def test_second_derivatives_for_training_on_forces(case: Case) -> None:
    model = case.model()
    positions = cluster(3)
    index = edge_index(positions)

    def energy(edge_vectors: torch.Tensor) -> torch.Tensor:
        return model(edge_vectors, index, types_of(3)).sum()

    assert torch.autograd.gradgradcheck(energy, (vectors(positions, index).requires_grad_(),), atol=1e-6)


@SOME_OF_EACH
def test_gradients_of_a_force_loss_are_central_differences(case: Case) -> None:
    """In one entry of every parameter."""
    model = case.model(scales_trainable=True)
    positions, types = cluster(4), types_of(4)

    def loss() -> torch.Tensor:
        moving = positions.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energies(model, moving, types).sum(), moving, create_graph=True)
        return (gradient**2).sum()

    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss(), list(parameters.values()))
    h = 1e-5
    for parameter, analytic in zip(parameters.values(), gradients, strict=True):
        entry = (0,) * parameter.dim()
        value, ends = parameter[entry].item(), []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[entry] = value + sign * h
            ends.append(loss().item())
        with torch.no_grad():
            parameter[entry] = value
        scale = analytic.abs().max().item()
        close([(ends[0] - ends[1]) / (2 * h)], analytic[entry].reshape(1), 1e-6, scale=scale)


@EVERY_CASE
def test_float32_core_is_close_to_float64(case: Case) -> None:
    exact, rounded = case.model(), case.model(model_dtype="float32")
    positions, types = cluster(), types_of(8)
    energy, forces = energies_and_forces(rounded, positions, types)
    assert energy.dtype == forces.dtype == torch.float64
    exact_energy, exact_forces = energies_and_forces(exact, positions, types)
    shifts = exact.scale_shift.shifts[types]
    close(energy - shifts, exact_energy - shifts, 5e-5)
    close(forces, exact_forces, 5e-5)


@SOME_OF_EACH
def test_reference_energies_do_not_cost_digits(case: Case) -> None:
    model, positions, types = case.model(model_dtype="float32"), cluster(), types_of(8)
    near, _ = energies_and_forces(model, positions, types)
    shifts = model.scale_shift.shifts.clone()
    model.set_scales_shifts(model.scale_shift.scales.clone(), shifts - 20_000)
    far, _ = energies_and_forces(model, positions, types)
    close(far + 20_000, near, 1e-10)


class TestWeights:
    @SOME_OF_EACH
    def test_follow_from_the_seed_alone(self, case: Case) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            first = case.model(seed=1).state_dict()
            torch.manual_seed(12)
            before = torch.get_rng_state()
            second = case.model(seed=1).state_dict()
            assert torch.equal(torch.get_rng_state(), before)
        other = case.model(seed=2).state_dict()
        for name, values in first.items():
            assert torch.equal(values, second[name])
        assert any(not torch.equal(values, other[name]) for name, values in first.items())

    @EVERY_CASE
    def test_are_the_same_in_both_precisions(self, case: Case) -> None:
        double, single = case.model().state_dict(), case.model(model_dtype="float32").state_dict()
        for name, values in double.items():
            assert torch.equal(values.to(single[name].dtype), single[name])

    @SOME_OF_EACH
    def test_do_not_depend_on_the_default_dtype(self, case: Case) -> None:
        expected = case.model(model_dtype="float32")
        torch.set_default_dtype(torch.float64)
        try:
            actual = case.model(model_dtype="float32")
            energy = energies(actual, cluster(), types_of(8))
        finally:
            torch.set_default_dtype(torch.float32)
        for name, values in expected.state_dict().items():
            assert torch.equal(values, actual.state_dict()[name])
            assert values.dtype == actual.state_dict()[name].dtype
        assert torch.equal(energy, energies(expected, cluster(), types_of(8)))

    @EVERY_CASE
    def test_are_plain_separate_tensors(self, case: Case) -> None:
        state = case.model().state_dict()
        assert all(type(values) is torch.Tensor and values.is_contiguous() for values in state.values())
        assert len({values.untyped_storage().data_ptr() for values in state.values()}) == len(state)

    @EVERY_CASE
    def test_none_is_idle(self, case: Case) -> None:
        """What cannot reach an energy is not built."""
        model = case.model()
        energies(model, cluster(), types_of(8)).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


TRACED = [
    pytest.param(Case("nequip", EVERYTHING), id="nequip, everything"),
    pytest.param(Case("allegro", {"l_max": 1}), id="allegro"),
    pytest.param(
        Case("allegro", {**SPLINE, "mean_neighbors": (1.0, 2.0), "num_layers": 1}), id="allegro, spline, per type"
    ),
]


class TestTracing:
    """The graph of energies and gradients holds for any number of atoms and edges."""

    @staticmethod
    def inputs(n_atoms: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        positions = cluster(n_atoms)
        index = edge_index(positions)
        return vectors(positions, index), index, types_of(n_atoms)

    @pytest.mark.parametrize("case", TRACED)
    def test_symbolic_graph_and_export(self, case: Case) -> None:
        from torch.export import Dim, export
        from torch.fx.experimental.proxy_tensor import make_fx

        model = case.model().requires_grad_(False)

        def function(edge_vectors: torch.Tensor, index: torch.Tensor, types: torch.Tensor) -> list[torch.Tensor]:
            moving = edge_vectors.detach().requires_grad_()
            energy = model(moving, index, types)
            (gradient,) = torch.autograd.grad(energy.sum(), moving)
            return [energy.detach(), gradient]

        graph = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*self.inputs(7))
        n_atoms, n_edges = Dim("n_atoms", min=2), Dim("n_edges", min=2)
        sizes = ({0: n_edges}, {1: n_edges}, {0: n_atoms})
        exported = export(graph, self.inputs(7), dynamic_shapes=sizes, strict=False).module()
        for size in (2, 5, 9):
            for made in (graph, exported):
                for actual, expected in zip(made(*self.inputs(size)), function(*self.inputs(size)), strict=True):
                    close(actual, expected, 1e-12)

    @pytest.mark.parametrize(
        "case", [pytest.param(Case("nequip", {"l_max": 2, "num_layers": 3}), id="nequip"), *TRACED]
    )
    def test_torchscript(self, case: Case, tmp_path: Path) -> None:
        model = case.model().requires_grad_(False)
        torch.jit.trace(model, self.inputs(7)).save(tmp_path / "traced.pt")
        loaded = torch.jit.load(tmp_path / "traced.pt")
        for size in (2, 5, 9):
            close(loaded(*self.inputs(size)), model(*self.inputs(size)), 1e-12)
        alone = (torch.zeros(0, 3, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.int64), torch.tensor([1]))
        assert loaded(*alone).tolist() == model(*alone).tolist()
