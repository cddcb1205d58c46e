"""With upstream's weights our models give upstream's results (nequip 0.19.1, nequip-allegro 0.8.3, float64)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.architectures import allegro_cases
from tests.architectures.allegro_equality import ALLEGRO
from tests.architectures.upstream import QUANTITIES
from tests.architectures.upstream_cases import COMMITTED, beyond_shifts, predict
from tests.architectures.upstream_equality import GRADIENTS, NEQUIP, Family, table
from tests.architectures.upstream_systems import systems
from tests.architectures.upstream_weights import made_up

from shoal.architectures import AllegroConfig, NequIPConfig
from shoal.errors import ModelFileError
from shoal.integrations.nequip import allegro_weights
from shoal.integrations.nequip.weights import to_ours
from shoal.testing import close

ROOT = Path(__file__).parents[2]
MODULES = {"NequIP": "upstream", "Allegro": "allegro"}
FAMILIES = pytest.mark.parametrize("family", [NEQUIP, ALLEGRO], ids=lambda family: family.name)
EVERY_CASE = pytest.mark.parametrize(
    ("family", "name"),
    [
        pytest.param(family, name, id=f"{family.name}, {name}")
        for family in (NEQUIP, ALLEGRO)
        for name in family.committed
    ],
)
REFERENCES = {
    family: json.loads(Path(__file__).with_name(f"{module}_reference.json").read_text())
    for family, module in MODULES.items()
}


def run_upstream(module: str) -> Any:
    """What a module of this folder prints where nequip is installed."""
    python = ROOT / ".venv-peers" / "nequip" / "bin" / "python"
    command = [python, "-m", f"tests.architectures.{module}"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@FAMILIES
def test_the_reference_holds_every_case(family: Family) -> None:
    assert {name: case["settings"] for name, case in REFERENCES[family.name]["cases"].items()} == family.committed


@EVERY_CASE
def test_equal_with_the_same_weights(family: Family, name: str) -> None:
    """Molecule, triclinic crystal, slab and a lone atom in one batch."""
    case = REFERENCES[family.name]["cases"][name]
    config = family.config(**case["settings"])
    model, atoms = family.ours(case["settings"], family.made_up(config)), systems(len(config.type_names))["mixed batch"]
    found = predict(model, atoms)
    expected = {
        quantity: torch.from_numpy(np.array(case[quantity], dtype=float)).reshape(found[quantity].shape)
        for quantity in QUANTITIES
    }
    actual, reference = beyond_shifts(found, atoms, model), beyond_shifts(expected, atoms, model)
    for system in range(len(atoms.n_atoms)):
        members = atoms.system_index == system
        for quantity, values in reference.items():
            chosen = members if len(values) == len(members) else torch.tensor([system])
            close(actual[quantity][chosen], values[chosen], 1e-10)
    assert all(values.abs().max() > 1e-2 for values in reference.values())


@EVERY_CASE
def test_upstream_has_as_many_weights_as_the_layout_says(family: Family, name: str) -> None:
    case = REFERENCES[family.name]["cases"][name]
    weights = family.made_up(family.config(**case["settings"]))
    assert sum(values.numel() for values in weights.values()) == case["parameters"]


class TestWeightsThatDoNotFit:
    @pytest.fixture
    def config(self) -> NequIPConfig:
        return NequIPConfig(**COMMITTED["defaults"])

    def test_a_missing_tensor_is_named(self, config: NequIPConfig) -> None:
        weights = made_up(config)
        del weights["layer1_convnet.conv.sc.weight"]
        with pytest.raises(ModelFileError, match="no tensor 'layer1_convnet.conv.sc.weight'"):
            to_ours(weights, config)

    def test_another_shape_is_named(self, config: NequIPConfig) -> None:
        weights = made_up(config)
        other = config.model_copy(update={"num_bessels": config.num_bessels + 1})
        with pytest.raises(ModelFileError, match=r"edge_mlp.mlp.0.weight' has shape \(8, 8\)"):
            to_ours(weights, other)

    def test_so_it_is_for_allegro(self) -> None:
        config = AllegroConfig(**allegro_cases.COMMITTED["defaults"])
        weights = allegro_cases.made_up(config)
        other = config.model_copy(update={"path_channel_coupling": False})
        with pytest.raises(ModelFileError, match=r"'allegro.tps.0.weights' has shape \(3, 15\).* says \(15,\)"):
            allegro_weights.to_ours(weights, other)
        del weights["allegro.tps.0.weights"]
        with pytest.raises(ModelFileError, match="no tensor 'allegro.tps.0.weights'"):
            allegro_weights.to_ours(weights, config)


@pytest.mark.parametrize("given", [torch.empty(0), torch.tensor([[2.5]]), torch.tensor([[2.5], [2.5], [2.5]])])
def test_energy_scales_and_shifts_are_none_one_or_one_per_type(given: torch.Tensor) -> None:
    config = NequIPConfig(**COMMITTED["defaults"])
    weights = made_up(config)
    for name, default in (("scales", 1.0), ("shifts", 0.0)):
        state = to_ours({**weights, f"per_type_energy_scale_shift.{name}": given}, config)
        assert state[f"scale_shift.{name}"].tolist() == [2.5 if given.numel() else default] * 3
        assert state[f"scale_shift.{name}"].dtype == torch.float64


@pytest.mark.peer
@FAMILIES
def test_the_reference_is_what_upstream_says(family: Family) -> None:
    fresh, committed = run_upstream(f"{MODULES[family.name]}_reference"), REFERENCES[family.name]
    assert fresh[family.packages[0]] == committed[family.packages[0]]
    for name, case in committed["cases"].items():
        assert fresh["cases"][name]["settings"] == case["settings"]
        for quantity in QUANTITIES:
            actual, expected = (np.array(each[quantity], dtype=float) for each in (fresh["cases"][name], case))
            assert (np.isnan(actual) == np.isnan(expected)).all()
            close(np.nan_to_num(actual), np.nan_to_num(expected), 1e-12)


@pytest.mark.peer
@pytest.mark.slow
@FAMILIES
def test_equal_over_the_whole_matrix(family: Family, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option with every kind of features and systems, made-up weights and upstream's initial ones."""
    result = run_upstream(f"{MODULES[family.name]}_equality")
    with capsys.disabled():
        print("\n", ", ".join(f"{name} {version}" for name, version in result["versions"].items()))
        print(table(result))
    for label, row in result["rows"].items():
        assert all(row[quantity] <= 1e-10 for quantity in QUANTITIES), label
        assert row["smallest force"] > 1e-3, label
    assert all(row[GRADIENTS] <= 1e-8 for row in result["rows"].values() if GRADIENTS in row)
    assert sum(GRADIENTS in row for row in result["rows"].values()) > len(family.committed) / 2
