"""What is NequIP's own: its irreps, residuals, cutoffs of pairs and repulsion."""

import copy
from typing import Any

import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.architectures.clusters import cluster, energies, energies_and_forces, types_of
from tests.architectures.small_models import UNEVEN, ZBL, Case

from shoal.architectures import NequIP
from shoal.architectures.nequip import layer_channels
from shoal.testing import close


def model(**settings: Any) -> NequIP:
    built = Case("nequip", settings).model()
    assert isinstance(built, NequIP)
    return built


def rotation(seed: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(random_state=seed).as_matrix())


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
