"""Shoal inside torch-sim beside upstream's own calculator. Run where torch-sim and nequip are.

python -m tests.integrations.torch_sim_runs FILE.nequip.pt2 MODEL.shoal MODEL.shoal.pt2    prints JSON
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch_sim as ts
from nequip.integrations.torchsim import NequIPTorchSimCalc
from tests.potentials.nequip_structures import crystal, mirrored, molecule
from torch_sim.models.interface import ModelInterface, validate_model_outputs

import shoal
from shoal.integrations.torch_sim import TorchSimCalculator

CPU = torch.device("cpu")
N_STEPS = 40
KT = 0.05  # eV
Step = Callable[[Any], Any]


def start(n_systems: int = 3) -> Any:
    structures = [crystal(), mirrored(), crystal() * (1, 2, 1)][:n_systems]
    return ts.io.atoms_to_state(structures, CPU, torch.float64)


def relaxation(model: ModelInterface, **options: Any) -> Iterator[Any]:
    state = ts.fire_init(start(), model, **options)
    for _ in range(N_STEPS):
        state = ts.fire_step(state, model)
        yield state


def langevin(model: ModelInterface) -> Iterator[Any]:
    first = start()
    first.rng = 11
    state = ts.nvt_langevin_init(first, model, kT=KT)
    for _ in range(N_STEPS):
        state = ts.nvt_langevin_step(state, model, dt=0.001 * ts.units.MetalUnits.time, kT=KT)
        yield state


def nose_hoover(model: ModelInterface) -> Iterator[Any]:
    first = start()
    first.rng = 11
    time = 0.001 * ts.units.MetalUnits.time
    state = ts.nvt_nose_hoover_init(first, model, kT=KT, dt=time)
    for _ in range(N_STEPS):
        state = ts.nvt_nose_hoover_step(state, model, dt=time, kT=KT)
        yield state


RUNS: dict[str, Callable[[ModelInterface], Iterator[Any]]] = {
    "FIRE": relaxation,
    "FIRE with cells": lambda model: relaxation(model, cell_filter=ts.CellFilter.frechet),
    "NVT Langevin": langevin,
    "NVT Nose-Hoover": nose_hoover,
}


def largest_differences(run: Callable[[ModelInterface], Iterator[Any]], ours: Any, theirs: Any) -> dict[str, float]:
    """Over all steps of a run; also how far it went."""
    worst = dict.fromkeys(("energy", "forces", "positions", "cell"), 0.0)
    origin = start().positions
    for a, b in zip(run(ours), run(theirs), strict=True):
        for name in worst:
            worst[name] = max(worst[name], float((getattr(a, name) - getattr(b, name)).abs().max()))
    return {**worst, "moved": float((a.positions - origin).abs().max())}


def own_models(paths: list[str], mapping: dict[str, str]) -> dict[str, float]:
    """Our own files in torch-sim beside the same files called directly, largest difference of each."""
    atoms = [crystal(), mirrored()]
    state = ts.io.atoms_to_state(atoms, CPU, torch.float64)
    found = {}
    for path in paths:
        inside = TorchSimCalculator(path, chemical_species_to_atom_type_map=mapping)(state)
        direct = shoal.load(path, chemical_species_to_atom_type_map=mapping)(shoal.io.atoms_to_state(atoms))
        found[path] = max(float((inside[name] - direct[name]).abs().max()) for name in direct)
    return found


def flags(calculator: Any) -> dict[str, list[str]]:
    found = {}
    for forces in (True, False):
        for stress in (True, False):
            calculator.compute_forces, calculator.compute_stress = forces, stress
            found[f"{forces} {stress}"] = sorted(calculator(start()))
    calculator.compute_forces = calculator.compute_stress = True
    return found


def layouts(calculator: Any) -> dict[str, float]:
    """Energies along a row of states that differ in what a kept layout could get wrong, against a new calculator."""
    swapped = start()
    swapped.atomic_numbers = swapped.atomic_numbers.flip(0)
    in_place = start()
    calculator(in_place)
    in_place.atomic_numbers[0] = 6
    free = ts.io.atoms_to_state([molecule(), molecule()], CPU, torch.float64)
    single = start().to(dtype=torch.float32)
    states = {"fewer": start(2), "swapped": swapped, "in place": in_place, "molecules": free, "float32": single}
    found = {}
    for name, state in states.items():
        fresh = TorchSimCalculator(calculator.batch_calculator)
        kept, new = calculator(state), fresh(state)
        found[name] = float((kept["energy"] - new["energy"]).abs().max())
        found[f"{name} energy"] = float(kept["energy"].sum())
        assert kept["forces"].dtype == state.positions.dtype
        assert kept["energy"].dtype == torch.float64
    return found


def main(file: str, *own: str) -> None:
    warnings.simplefilter("ignore")
    mapping = {"Si": "Si", "C": "C"}
    arguments: dict[str, Any] = {"compile_path": file, "device": "cpu", "chemical_species_to_atom_type_map": mapping}
    ours, theirs = (
        TorchSimCalculator.from_compiled_model(**arguments),
        NequIPTorchSimCalc.from_compiled_model(**arguments),
    )
    known = dict.fromkeys(("Si", "Mg", "Fe", "C", "H"), "Si")
    validate_model_outputs(TorchSimCalculator(file, chemical_species_to_atom_type_map=known), CPU, torch.float64)
    before = start()
    ours(before)
    result = {
        "torch_sim": ts.__version__,
        "is a model": isinstance(ours, ModelInterface),
        "attributes": [str(ours.device), str(ours.dtype), ours.memory_scales_with],
        "their attributes": [str(theirs.device), str(theirs.dtype), theirs.memory_scales_with],
        "unchanged": all(
            torch.equal(getattr(before, name), getattr(start(), name)) for name in ("positions", "cell", "system_idx")
        ),
        "runs": {name: largest_differences(run, ours, theirs) for name, run in RUNS.items()},
        "flags": flags(ours),
        "layouts": layouts(ours),
        "own": own_models(list(own), mapping),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
