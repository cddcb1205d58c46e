"""With upstream's weights our NequIP gives upstream's energies and forces (nequip 0.19.1, float64)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.architectures.upstream_reference import CASES, scales_shifts, structure
from tests.architectures.upstream_weights import made_up

from shoal.architectures import NequIP, NequIPConfig
from shoal.integrations.nequip.weights import to_ours
from shoal.testing import close

FILE = Path(__file__).with_name("upstream_reference.json")
REFERENCE = json.loads(FILE.read_text())


def label(case: dict[str, Any]) -> str:
    config = NequIPConfig(**case["config"])
    changed = config.model_dump(exclude_defaults=True, exclude={"cutoff", "type_names", "model_dtype"})
    return "-".join([f"{len(config.type_names)}types", *(f"{name}={value}" for name, value in changed.items())])


def test_the_reference_holds_every_case() -> None:
    assert [case["config"] for case in REFERENCE["cases"]] == CASES


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=label)
def test_equal_with_the_same_weights(case: dict[str, Any]) -> None:
    config = NequIPConfig(**case["config"])
    n_types = len(config.type_names)
    ours = NequIP(config)
    ours.load_state_dict(to_ours(made_up(config), config))
    ours.set_scales_shifts(*scales_shifts(n_types))

    atoms = structure(n_types)
    positions = atoms["positions"].clone().requires_grad_()
    centre, neighbor = atoms["edge_index"]
    vectors = positions[neighbor] - positions[centre] + atoms["edge_shift"] @ atoms["cell"]
    energy = ours(vectors, atoms["edge_index"], atoms["types"])
    (gradient,) = torch.autograd.grad(energy.sum(), positions)

    shifts = torch.tensor(scales_shifts(n_types)[1])[atoms["types"]]
    expected = torch.tensor(case["atomic_energy"], dtype=torch.float64)
    close(energy - shifts, expected - shifts, 1e-10)
    close(-gradient, case["forces"], 1e-10)
    assert (expected - shifts).abs().max() > 1e-2
    assert torch.tensor(case["forces"]).abs().max() > 1e-2


@pytest.mark.peer
def test_the_reference_is_what_nequip_says() -> None:
    root = Path(__file__).parents[2]
    python = root / ".venv-peers" / "nequip" / "bin" / "python"
    run = subprocess.run(
        [python, "-m", "tests.architectures.upstream_reference"], cwd=root, capture_output=True, text=True, check=True
    )
    fresh = json.loads(run.stdout)
    assert fresh["nequip"] == REFERENCE["nequip"]
    for actual, expected in zip(fresh["cases"], REFERENCE["cases"], strict=True):
        assert actual["config"] == expected["config"]
        close(actual["atomic_energy"], expected["atomic_energy"], 1e-12)
        close(actual["forces"], expected["forces"], 1e-12)
