"""A TorchScript file is the model at every size and on every device, for every architecture and option."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import shoal
from shoal.architectures import ARCHITECTURES
from shoal.architectures.geometry import EdgeGeometry
from shoal.deploy.torchscript import write_torchscript
from shoal.deploy.trace import BatchTarget
from shoal.files import ArchitectureSpec
from shoal.files.compiled import INPUTS, OUTPUTS
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential

CPU = torch.device("cpu")
COMMON = {"cutoff": 3.5, "type_names": ["H", "O"], "mean_neighbors": 6.0, "model_dtype": "float64"}
SMALL: dict[str, dict[str, Any]] = {
    "nequip": {"num_features": 4, "radial_mlp_width": 8, "num_layers": 2},
    "allegro": {"num_scalar_features": 8, "num_tensor_features": 4, "num_layers": 2},
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "every": {
        "l_max 0": {"l_max": 0},
        "l_max 1": {"l_max": 1},
        "l_max 3, one parity": {"l_max": 3, "parity": False},
        "one type, float32": {"type_names": ["H"], "model_dtype": "float32"},
        "neighbours per type": {"mean_neighbors": [4.0, 9.0]},
        "cutoffs per pair": {"per_edge_type_cutoff": {"H": 2.0, "O": {"H": 2.5}}},
        "ZBL": {"zbl": {}},
        "one layer": {"num_layers": 1},
    },
    "nequip": {
        "more types than embedding": {"type_names": ["H", "O", "C", "N"], "type_embedding_size": 2},
        "norm": {"nonlinearity": "norm"},
        "residual": {"resnet": True, "num_layers": 3},
        "deep readout": {"readout_mlp_depth": 2, "readout_mlp_width": 8, "readout_mlp_nonlinearity": "silu"},
        "no self-connection": {"self_connection": False},
    },
    "allegro": {"splines": {"radial_embedding": {"basis": "spline"}}},
}
CASES = [
    pytest.param(name, {**COMMON, **SMALL.get(name, {}), **options}, id=f"{name}, {label}")
    for name in ARCHITECTURES
    for label, options in {**OPTIONS["every"], **OPTIONS.get(name, {})}.items()
]


def learned(name: str, config: dict[str, Any]) -> LearnedPotential:
    potential = LearnedPotential(ArchitectureSpec(name=name, config=config))
    count = len(potential.type_names)
    potential.model.set_scales_shifts([0.7 + 0.4 * k for k in range(count)], [-3.0 - k for k in range(count)])
    return potential


def script(potential: LearnedPotential, folder: Path) -> torch.jit.ScriptModule:
    write_torchscript(potential, CPU, folder / "x.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(folder / "x.pth")


def structures() -> dict[str, list[Atoms]]:
    rng = np.random.default_rng(0)

    def ice(copies: int) -> Atoms:
        atoms = Atoms("OH2", positions=[[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], cell=2.9 * np.eye(3), pbc=True)
        atoms = atoms.repeat((copies, 1, 1))
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        return atoms

    return {
        "nothing": [],
        "one atom": [Atoms("O")],
        "two atoms apart": [Atoms("OH", positions=[[0, 0, 0], [9.0, 0, 0]])],
        "one pair": [Atoms("OH", positions=[[0, 0, 0], [1.0, 0.1, 0]])],
        "one cell": [ice(1)],
        "a row of cells": [ice(5)],
        "many": [ice(1), Atoms("H"), ice(3), *[ice(2) for _ in range(20)]],
    }


def inputs(potential: LearnedPotential, frames: list[Atoms]) -> list[torch.Tensor]:
    state = atoms_to_state(frames)
    neighbors = neighbor_list(state, potential.cutoff)
    generator = torch.Generator().manual_seed(1)
    named = {
        "positions": state.positions,
        "cell": state.cell,
        "edge_index": neighbors.edge_index,
        "edge_cell_shift": neighbors.shifts,
        "atom_types": state.atomic_numbers % len(potential.type_names),
        "system_index": state.system_index,
        "energy_weights": torch.rand(state.n_atoms, generator=generator, dtype=torch.float64),
    }
    return [named[name] for name in INPUTS]


@pytest.mark.parametrize(("name", "config"), CASES)
def test_it_is_the_eager_model_at_every_size(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    potential = learned(name, config)
    scripted, eager = script(potential, tmp_path), BatchTarget(potential.model)
    for frames in structures().values():
        given = inputs(potential, frames)
        with torch.jit.optimized_execution(False):
            got = scripted(*given)
        for quantity, value, expected in zip(OUTPUTS, got, eager(*given), strict=True):
            assert not value.requires_grad
            assert value.dtype == torch.float64
            tolerance = 1e-10 if config["model_dtype"] == "float64" else 2e-5
            torch.testing.assert_close(value, expected, rtol=0, atol=tolerance, equal_nan=True, msg=quantity)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_its_code_names_no_device(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    graph = script(learned(name, config), tmp_path).inlined_graph
    devices = [node for node in graph.findAllNodes("prim::Constant") if str(node.output().type()) == "Device"]
    assert devices == []


def test_it_loads_and_runs_without_a_warning_and_leaves_the_executor_as_it_was(scripted_silicon: Path) -> None:
    before = torch._C._get_graph_executor_optimize(), torch.is_grad_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator = shoal.load(scripted_silicon, chemical_species_to_atom_type_map=True)
        with torch.no_grad():
            results = calculator(atoms_to_state([bulk("Si")]))
    assert (torch._C._get_graph_executor_optimize(), torch.is_grad_enabled()) == before
    assert not any(value.requires_grad for value in results.values())


@pytest.mark.parametrize(
    "fixed",
    [
        lambda x: x * (1 if len(x) > 200 else 2),
        lambda x: x + torch.zeros(int(x.shape[0]), dtype=x.dtype),
        lambda x: x * float(x.mean()),
    ],
    ids=["a choice by size", "a size", "a number"],
)
def test_what_the_trace_would_fix_is_refused(
    fixed: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = learned("nequip", {**COMMON, **SMALL["nequip"]})
    plain = potential.model.geometry

    def geometry(*given: torch.Tensor) -> EdgeGeometry:
        made = plain(*given)
        return EdgeGeometry(made._distances, fixed(made._x), made._directions)

    monkeypatch.setattr(potential.model, "geometry", geometry)
    with pytest.raises(torch.jit.TracingCheckError):
        write_torchscript(potential, CPU, tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "config"), CASES)
def test_a_graph_traced_on_one_device_runs_on_another(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    potential = learned(name, config)
    script(potential, tmp_path)
    given = inputs(potential, structures()["many"])
    with torch.jit.optimized_execution(False):
        got = torch.jit.load(tmp_path / "x.pth", map_location="cuda")(*[value.cuda() for value in given])
    tolerance = 1e-10 if config["model_dtype"] == "float64" else 5e-5
    for value, expected in zip(got, BatchTarget(potential.model)(*given), strict=True):
        torch.testing.assert_close(value.cpu(), expected, rtol=0, atol=tolerance, equal_nan=True)
