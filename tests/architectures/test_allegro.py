"""What is Allegro's own: its settings, its irreps, its initial weights, its place among convolutions."""

import copy
from typing import Any

import pytest
import torch
from tests.architectures.clusters import cluster, energies, types_of
from tests.architectures.small_models import Case

from shoal.architectures import ARCHITECTURES, Allegro, AllegroConfig, build
from shoal.architectures.allegro import layer_irreps
from shoal.errors import ConfigError
from shoal.nn import CONVOLUTIONS
from shoal.nn.contraction import coupling_paths
from shoal.testing import close
from shoal.training.config import ModelConfig

MINIMAL: dict[str, Any] = {"cutoff": 4.0, "type_names": ["H", "O_water"], "mean_neighbors": 10}


def test_minimal_configuration_builds() -> None:
    allegro = build("allegro", MINIMAL)
    assert isinstance(allegro, Allegro)
    assert isinstance(allegro.config, ARCHITECTURES["allegro"].config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cutof": 4.0}, "cutof"),
        ({"num_features": 8}, "num_features"),
        ({"forward_normalize": False}, "forward_normalize"),
        ({"l_max": 5}, "less than or equal to 4"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_scalar_features": 7}, "7 features; it must be even"),
        ({"radial_embedding_size": 9}, "9 features; it must be even"),
        ({"radial_embedding": {"basis": "sine"}}, "'bessel', 'spline'"),
        ({"radial_embedding": {"basis": "bessel", "num_splines": 4}}, "num_splines"),
        ({"radial_embedding": {"basis": "spline", "num_splines": 4}}, "spline_span 12 is larger than num_splines 4"),
        ({"radial_embedding": {"basis": "spline", "spline_span": 0}}, "spline_span"),
        ({"allegro_mlp_nonlinearity": "tanh"}, "'silu', 'mish' or 'gelu'"),
        ({"readout_mlp_depth": -1}, "readout_mlp_depth"),
        ({"mean_neighbors": [1.0, 2.0, 3.0]}, "3 entries for 2 types"),
        ({"per_edge_type_cutoff": {"C": 3.0}}, "unknown type 'C'"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build("allegro", {**MINIMAL, **changes})


def test_an_odd_number_of_features_is_fine_without_type_embedding() -> None:
    build("allegro", {**MINIMAL, "num_scalar_features": 7, "radial_embedding": {"basis": "spline"}})


@pytest.mark.parametrize("radial", [{"basis": "spline", "num_splines": 8, "spline_span": 3}, {"basis": "bessel"}])
def test_a_configuration_survives_json_and_training(radial: dict[str, Any]) -> None:
    config = AllegroConfig(**MINIMAL, radial_embedding=radial, allegro_mlp_nonlinearity=None)
    assert AllegroConfig.model_validate_json(config.model_dump_json()) == config
    section = ModelConfig(architecture="allegro", cutoff=4.0, radial_embedding=radial)
    assert section.build(("H",)).radial_embedding == config.radial_embedding


def test_every_convolution_is_the_same() -> None:
    one, *others = (build("allegro", MINIMAL, convolution=name) for name in CONVOLUTIONS)
    for other in others:
        assert torch.equal(energies(one, cluster(), types_of(8)), energies(other, cluster(), types_of(8)))


class TestIrreps:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"l_max": 2, "num_layers": 1}, ["0e 1o 2e", "0e"]),
            ({"l_max": 2, "num_layers": 2}, ["0e 1o 2e", "0e 1o 2e", "0e"]),
            ({"l_max": 1, "num_layers": 3}, ["0e 1o", "0e 1o 1e", "0e 1o", "0e"]),
            ({"l_max": 1, "num_layers": 4}, ["0e 1o", "0e 1o 1e", "0e 1o 1e", "0e 1o", "0e"]),
            ({"l_max": 1, "num_layers": 5}, ["0e 1o", "0e 1o 1e", "0e 0o 1o 1e", "0e 1o 1e", "0e 1o", "0e"]),
            ({"l_max": 1, "num_layers": 4, "parity": False}, ["0e 1o", "0e 1o", "0e 1o", "0e 1o", "0e"]),
            ({"l_max": 0, "num_layers": 2}, ["0e", "0e", "0e"]),
        ],
    )
    def test_are_those_that_a_path_reaches_and_that_reach_an_energy(
        self, settings: dict[str, Any], expected: list[str]
    ) -> None:
        layers = layer_irreps(AllegroConfig(**MINIMAL, **settings))
        assert [set(layer.split()) for layer in expected] == [{str(irrep) for irrep in layer} for layer in layers]

    def test_of_both_parities_are_at_work(self) -> None:
        """Without the paths into them the energies are others."""
        settings = {"l_max": 2, "num_layers": 4}
        deep = Case("allegro", settings).model()
        layers = layer_irreps(deep.config)
        positions, types = cluster(), types_of(8)
        before = energies(deep, positions, types)
        for name in ("1e", "2o"):
            without = copy.deepcopy(deep)
            for layer, inputs, outputs in zip(without.layers, layers, layers[1:], strict=False):
                paths = coupling_paths(inputs, 2, outputs)
                into = torch.tensor([str(target) == name for _, _, target in paths])
                with torch.no_grad():
                    layer.contraction.weight[into] = 0
            assert (energies(without, positions, types) - before).abs().max() > 1e-4


class TestInitialWeights:
    """nequip-allegro's statistics: uniform with unit variance in networks and paths, normal in type embeddings."""

    @pytest.fixture
    def parameters(self) -> dict[str, torch.Tensor]:
        sizes = {"num_scalar_features": 128, "num_tensor_features": 64, "l_max": 3, "type_names": list("ABCDEFGH")}
        model = build("allegro", {**MINIMAL, **sizes, "model_dtype": "float64"})
        return {name: values.detach() for name, values in model.named_parameters()}

    def test_have_zero_mean_and_unit_variance(self, parameters: dict[str, torch.Tensor]) -> None:
        for name, values in parameters.items():
            error = values.numel() ** -0.5
            assert abs(values.mean().item()) < 5 * error, name
            assert abs(values.var().item() - 1) < 7 * error, name

    def test_are_bounded_but_for_the_type_embedding(self, parameters: dict[str, torch.Tensor]) -> None:
        unbounded = {name for name, values in parameters.items() if values.abs().max() > 3**0.5}
        assert unbounded == {"embedding.centre", "embedding.neighbor"}


def test_per_type_neighbours_are_those_of_the_centre() -> None:
    """Atoms of a type whose number of neighbours quadruples have half the sums, its neighbours have theirs."""
    positions, types = cluster(), types_of(8)
    linear = {"num_layers": 1, "allegro_mlp_depth": 0, "readout_mlp_depth": 0, "l_max": 0}
    one, other = (
        Case("allegro", {**linear, "mean_neighbors": neighbors}).model() for neighbors in ((1.0, 1.0), (4.0, 1.0))
    )
    shifts = one.scale_shift.shifts[types]
    with torch.no_grad():
        for model in (one, other):
            # two-body energies alone: linear in the sum over neighbours
            model.layers[0].contraction.weight.zero_()
    ratio = (energies(other, positions, types) - shifts) / (energies(one, positions, types) - shifts)
    close(ratio, [0.5, 1.0] * 4, 1e-9)
