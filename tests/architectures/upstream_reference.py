"""Energies and forces that nequip itself gives with made-up weights; run where nequip is installed.

.venv-peers/nequip/bin/python -m tests.architectures.upstream_reference > tests/architectures/upstream_reference.json
"""

import json
import sys
import warnings
from itertools import product
from typing import Any

import torch
from tests.architectures.upstream_weights import made_up

from shoal.architectures import NequIPConfig
from shoal.integrations.nequip.weights import bare_name

CUTOFF = 4.0
BASE: dict[str, Any] = {
    "cutoff": CUTOFF,
    "mean_neighbors": 2.0,
    "num_layers": 4,
    "num_features": 4,
    "radial_mlp_width": 8,
    "model_dtype": "float64",
}
TYPES = {1: ["A"], 3: ["A", "B", "C"]}
OPTIONS: list[dict[str, Any]] = [
    {"l_max": 4, "num_layers": 2},
    {"l_max": 2, "num_layers": 6, "mean_neighbors": 0.5},
    {"l_max": 2, "num_layers": 1},
    {"l_max": 2, "num_features": [5, 3, 2], "type_embedding_size": 6},
    {"l_max": 1, "type_embedding_size": 2},
    {"l_max": 1, "mean_neighbors": [1.0, 2.0, 4.0]},
    {"l_max": 1, "bessel_trainable": True, "num_bessels": 5, "polynomial_cutoff_p": 5},
    {"l_max": 1, "radial_mlp_depth": 0},
    {"l_max": 1, "radial_mlp_depth": 3},
]
MATRIX = [
    {"l_max": l_max, "parity": parity, "type_names": types}
    for l_max, parity, types in product(range(4), (True, False), TYPES.values())
]
CASES = [{**BASE, "type_names": TYPES[3], **case} for case in [*MATRIX, *OPTIONS]]


def structure(n_types: int) -> dict[str, torch.Tensor]:
    """Nine atoms in a small skewed cell, each with several images of its neighbours within the cutoff."""
    source = torch.Generator().manual_seed(3)
    cell = torch.tensor([[4.6, 0.3, 0.0], [-0.8, 5.1, 0.2], [0.5, 0.9, 5.4]], dtype=torch.float64)
    grid = torch.tensor([*product((0, 0.5), repeat=3), (0.25, 0.25, 0.25)], dtype=torch.float64)
    positions = grid @ cell + 0.25 * torch.randn(9, 3, generator=source, dtype=torch.float64)
    shifts = torch.tensor(list(product((-1, 0, 1), repeat=3)), dtype=torch.float64)
    vectors = positions[None, :, None] - positions[:, None, None] + shifts @ cell
    near = (vectors.norm(dim=-1) < CUTOFF) & (vectors.norm(dim=-1) > 0)
    centre, neighbor, image = near.nonzero().T
    return {
        "positions": positions,
        "cell": cell,
        "edge_index": torch.stack([centre, neighbor]),
        "edge_shift": shifts[image],
        "types": torch.arange(9) % n_types,
    }


def scales_shifts(n_types: int) -> tuple[list[float], list[float]]:
    return [2.0 + 0.5 * k for k in range(n_types)], [-10.0 - 3.0 * k for k in range(n_types)]


def upstream(settings: dict[str, Any]) -> dict[str, Any]:
    """Build nequip's model, give it the made-up weights, evaluate it on the structure."""
    from nequip.data import AtomicDataDict
    from nequip.model import NequIPGNNModel

    config = NequIPConfig(**settings)
    names = list(config.type_names)
    scales, shifts = scales_shifts(len(names))
    model = NequIPGNNModel(
        seed=1,
        model_dtype=config.model_dtype,
        r_max=config.cutoff,
        type_names=names,
        num_layers=config.num_layers,
        l_max=config.l_max,
        parity=config.parity,
        num_features=list(config.features_by_degree),
        type_embed_num_features=config.type_embedding_size,
        radial_mlp_depth=config.radial_mlp_depth,
        radial_mlp_width=config.radial_mlp_width,
        num_bessels=config.num_bessels,
        bessel_trainable=config.bessel_trainable,
        polynomial_cutoff_p=config.polynomial_cutoff_p,
        avg_num_neighbors=dict(zip(names, config.neighbors_by_type, strict=True)),
        per_type_energy_scales=dict(zip(names, scales, strict=True)),
        per_type_energy_shifts=dict(zip(names, shifts, strict=True)),
    )
    parameters = {bare_name(name): parameter for name, parameter in model.named_parameters()}
    weights = made_up(config)
    assert set(weights) == set(parameters)
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].copy_(values)
    atoms = structure(len(names))
    out = model(
        {
            AtomicDataDict.POSITIONS_KEY: atoms["positions"],
            AtomicDataDict.CELL_KEY: atoms["cell"][None],
            AtomicDataDict.EDGE_INDEX_KEY: atoms["edge_index"],
            AtomicDataDict.EDGE_CELL_SHIFT_KEY: atoms["edge_shift"],
            AtomicDataDict.ATOM_TYPE_KEY: atoms["types"],
            AtomicDataDict.BATCH_KEY: torch.zeros(9, dtype=torch.int64),
            AtomicDataDict.NUM_NODES_KEY: torch.tensor([9]),
        }
    )
    keys = {"atomic_energy": AtomicDataDict.PER_ATOM_ENERGY_KEY, "forces": AtomicDataDict.FORCE_KEY}
    return {"config": settings, **{name: out[key].detach().squeeze(-1).tolist() for name, key in keys.items()}}


def main() -> None:
    import nequip
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    set_global_state()
    cases = [upstream(settings) for settings in CASES]
    rows = ",\n".join(json.dumps(case) for case in cases)
    sys.stdout.write(f'{{"nequip": "{nequip.__version__}", "cases": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
