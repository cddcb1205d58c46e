"""With upstream's weights our NequIP gives upstream's results (nequip 0.19.1, float64)."""

import json
import subprocess
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.architectures.upstream import QUANTITIES
from tests.architectures.upstream_cases import COMMITTED, beyond_shifts, ours, predict
from tests.architectures.upstream_equality import GRADIENTS, table
from tests.architectures.upstream_systems import systems
from tests.architectures.upstream_weights import made_up

from shoal.architectures import NequIPConfig
from shoal.errors import ModelFileError
from shoal.integrations.nequip.weights import flat_shapes, to_ours
from shoal.testing import close

ROOT = Path(__file__).parents[2]
REFERENCE = json.loads(Path(__file__).with_name("upstream_reference.json").read_text())


def run_upstream(module: str) -> Any:
    """What a module of this folder prints where nequip is installed."""
    python = ROOT / ".venv-peers" / "nequip" / "bin" / "python"
    command = [python, "-m", f"tests.architectures.{module}"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_the_reference_holds_every_case() -> None:
    assert {name: case["settings"] for name, case in REFERENCE["cases"].items()} == COMMITTED


@pytest.mark.parametrize("name", COMMITTED)
def test_equal_with_the_same_weights(name: str) -> None:
    """Molecule, triclinic crystal, slab and a lone atom in one batch."""
    case = REFERENCE["cases"][name]
    config = NequIPConfig(**case["settings"])
    model, atoms = ours(case["settings"], made_up(config)), systems(len(config.type_names))["mixed batch"]
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


@pytest.mark.parametrize("name", COMMITTED)
def test_upstream_has_as_many_weights_as_the_layout_says(name: str) -> None:
    case = REFERENCE["cases"][name]
    shapes = flat_shapes(NequIPConfig(**case["settings"]))
    assert sum(prod(shape) for shape in shapes.values()) == case["parameters"]


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


@pytest.mark.parametrize("given", [torch.empty(0), torch.tensor([[2.5]]), torch.tensor([[2.5], [2.5], [2.5]])])
def test_energy_scales_and_shifts_are_none_one_or_one_per_type(given: torch.Tensor) -> None:
    config = NequIPConfig(**COMMITTED["defaults"])
    weights = made_up(config)
    for name, default in (("scales", 1.0), ("shifts", 0.0)):
        state = to_ours({**weights, f"per_type_energy_scale_shift.{name}": given}, config)
        assert state[f"scale_shift.{name}"].tolist() == [2.5 if given.numel() else default] * 3
        assert state[f"scale_shift.{name}"].dtype == torch.float64


@pytest.mark.peer
def test_the_reference_is_what_nequip_says() -> None:
    fresh = run_upstream("upstream_reference")
    assert fresh["nequip"] == REFERENCE["nequip"]
    for name, case in REFERENCE["cases"].items():
        assert fresh["cases"][name]["settings"] == case["settings"]
        for quantity in QUANTITIES:
            actual, expected = (np.array(each[quantity], dtype=float) for each in (fresh["cases"][name], case))
            assert (np.isnan(actual) == np.isnan(expected)).all()
            close(np.nan_to_num(actual), np.nan_to_num(expected), 1e-12)


@pytest.mark.peer
@pytest.mark.slow
def test_equal_over_the_whole_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option with every kind of features and systems, made-up weights and nequip's initial ones."""
    result = run_upstream("upstream_equality")
    with capsys.disabled():
        print("\n", ", ".join(f"{name} {version}" for name, version in result["versions"].items()))
        print(table(result))
    for label, row in result["rows"].items():
        assert all(row[quantity] <= 1e-10 for quantity in QUANTITIES), label
        assert row["smallest force"] > 1e-2, label
    assert all(row[GRADIENTS] <= 1e-8 for row in result["rows"].values() if GRADIENTS in row)
    assert sum(GRADIENTS in row for row in result["rows"].values()) > len(COMMITTED) / 2
