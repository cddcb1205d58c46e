"""Settings in which our NequIP is compared with nequip's, and how far two sets of results are apart.

N atoms, S systems.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from tests.architectures.upstream import scales_shifts
from tests.architectures.upstream_systems import CUTOFF, Systems
from torch import Tensor

from shoal.architectures import NequIP, NequIPConfig
from shoal.integrations.nequip.weights import SCALE_SHIFT, to_ours
from shoal.potentials._derivatives import energy_and_derivatives

Settings = dict[str, Any]

BASE: Settings = {
    "cutoff": CUTOFF,
    "mean_neighbors": 0.5,
    "num_layers": 4,
    "num_features": 4,
    "radial_mlp_width": 8,
    "model_dtype": "float64",
}
TYPES = {1: ["C"], 3: ["H", "C", "O"]}
EVERY_KIND: dict[str, Settings] = {
    f"l_max {l_max}, {'both parities' if parity else 'one parity'}, {n_types} type{'s' * (n_types > 1)}": {
        "l_max": l_max,
        "parity": parity,
        "type_names": TYPES[n_types],
    }
    for l_max, parity, n_types in product(range(4), (True, False), TYPES)
}


def options(n_types: int, l_max: int) -> dict[str, Settings]:
    """Every option of the builder, changed alone and together."""
    names = TYPES[n_types]
    uneven = {
        centre: {other: 2.2 + 0.3 * a + 0.1 * b for b, other in enumerate(names)} for a, centre in enumerate(names)
    }
    alone: dict[str, Settings] = {
        "defaults": {},
        "one layer": {"num_layers": 1},
        "features per degree": {"num_features": [5, 3, 2, 2, 1][: l_max + 1], "type_embedding_size": 6},
        "small type embedding": {"type_embedding_size": 2},
        "neighbours per type": {"mean_neighbors": [0.3, 0.5, 1.0][:n_types]},
        "trained Bessel orders": {"bessel_trainable": True, "num_bessels": 5, "polynomial_cutoff_p": 5},
        "linear radial network": {"radial_mlp_depth": 0},
        "deep radial network": {"radial_mlp_depth": 3},
        "readout, silu": {"readout_mlp_depth": 1},
        "readout, mish": {"readout_mlp_depth": 2, "readout_mlp_width": 7, "readout_mlp_nonlinearity": "mish"},
        "readout, gelu": {"readout_mlp_depth": 1, "readout_mlp_width": 3, "readout_mlp_nonlinearity": "gelu"},
        "readout, linear": {"readout_mlp_depth": 2, "readout_mlp_width": 6, "readout_mlp_nonlinearity": None},
        "norm nonlinearity": {"nonlinearity": "norm"},
        "resnet": {"resnet": True},
        "no self-connection": {"self_connection": False, "mean_neighbors": 0.1},
        "trained scales and shifts": {"scales_trainable": True, "shifts_trainable": True},
        "cutoff per centre": {"per_edge_type_cutoff": {names[-1]: 2.6}},
        "cutoffs per pair": {"per_edge_type_cutoff": uneven},
        "ZBL": {"zbl": True},
    }
    together: Settings = {
        **alone["neighbours per type"],
        **alone["trained Bessel orders"],
        **alone["readout, mish"],
        **alone["norm nonlinearity"],
        **alone["resnet"],
        **alone["trained scales and shifts"],
        **alone["cutoffs per pair"],
        "zbl": {"species": dict(zip(names, ["Si", "C", "Au"], strict=False)), "polynomial_cutoff_p": 5},
    }
    return {**alone, "all of these": together}


MATRIX: dict[str, list[Settings]] = {
    option: [
        {**BASE, **kind, **options(len(kind["type_names"]), kind["l_max"])[option]} for kind in EVERY_KIND.values()
    ]
    for option in options(1, 0)
}
MATRIX["l_max 4"] = [{**BASE, "l_max": 4, "num_layers": 2, "type_names": TYPES[3], "parity": p} for p in (True, False)]
MATRIX["six layers"] = [{**BASE, "l_max": 2, "num_layers": 6, "type_names": TYPES[3]}]
PRESETS: dict[str, Settings] = {
    f"preset {preset}": {
        "preset": preset,
        "cutoff": CUTOFF,
        "type_names": TYPES[3],
        "mean_neighbors": 2.0,
        "model_dtype": "float64",
    }
    for preset in ("S", "M")
}
MATRIX |= {name: [settings] for name, settings in PRESETS.items()}

ONE_KIND: Settings = {**BASE, "l_max": 2, "parity": False, "type_names": TYPES[3]}
COMMITTED: dict[str, Settings] = {
    **{kind: {**BASE, **settings} for kind, settings in EVERY_KIND.items()},
    **{option: {**ONE_KIND, **settings} for option, settings in options(3, 2).items()},
    **{name: MATRIX[name][0] for name in ("l_max 4", "six layers", "preset S", "preset M")},
}
"""Of these upstream's results are in git."""


def ours(settings: Settings, flat: Mapping[str, Tensor]) -> NequIP:
    """Our model with upstream's weights; energy scales and shifts that are no weights as upstream was built."""
    config = NequIPConfig(**settings)
    scales, shifts = (torch.tensor(values, dtype=torch.float64) for values in scales_shifts(len(config.type_names)))
    model = NequIP(config)
    model.load_state_dict(to_ours({SCALE_SHIFT + "scales": scales, SCALE_SHIFT + "shifts": shifts, **flat}, config))
    return model


def predict(model: NequIP, atoms: Systems, *, create_graph: bool = False) -> dict[str, Tensor]:
    """Energy (S,), atomic_energy (N,) eV, forces (N, 3), stress and virial (S, 3, 3)."""
    return energy_and_derivatives(
        lambda vectors: model(vectors, atoms.edge_index, atoms.types),
        atoms.edge_vectors,
        atoms.edge_index,
        atoms.system_index,
        atoms.cell,
        create_graph=create_graph,
    )


def beyond_shifts(results: Mapping[str, Tensor], atoms: Systems, model: NequIP) -> dict[str, Tensor]:
    """Results whose energies are per atom and have the shifts taken off; stress is 0 where there is no volume."""
    shifts = model.scale_shift.shifts.detach()[atoms.types]
    total = torch.zeros(len(atoms.n_atoms), dtype=torch.float64).index_add(0, atoms.system_index, shifts)
    volumeless = atoms.cell.det() == 0
    assert torch.equal(results["stress"].isnan().all((1, 2)), volumeless)
    return {
        "energy": (results["energy"] - total) / atoms.n_atoms,
        "atomic_energy": results["atomic_energy"] - shifts,
        "forces": results["forces"],
        "stress": torch.where(volumeless[:, None, None], 0.0, results["stress"]),
        "virial": results["virial"],
    }


def deviation(actual: Tensor, expected: Tensor, system: Tensor) -> float:
    """Largest difference by row over max(1, largest value of the row's system); NaN where something is not finite."""
    difference = (actual - expected).abs().flatten(1) if actual.dim() > 1 else (actual - expected).abs()[:, None]
    size = expected.abs().reshape(difference.shape).amax(1)
    scale = torch.ones(int(system.max()) + 1, dtype=size.dtype).scatter_reduce(0, system, size, "amax")
    return (difference.amax(1) / scale[system]).max().item()


def deviations(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], atoms: Systems, model: NequIP
) -> dict[str, float]:
    """`deviation` of every quantity, `model` being ours."""
    mine, theirs = (beyond_shifts(results, atoms, model) for results in (actual, expected))
    each = torch.arange(len(atoms.n_atoms))
    return {
        name: deviation(mine[name], theirs[name], atoms.system_index if len(mine[name]) > len(each) else each)
        for name in theirs
    }
