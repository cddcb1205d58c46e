"""How far our NequIP is from nequip's over the whole matrix of settings, in one process that has both.

.venv-peers/nequip/bin/python -m tests.architectures.upstream_equality [--write benchmarks/results/equality.md]

prints JSON; 10 minutes. With --write also the table.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tests.architectures import upstream
from tests.architectures.upstream_cases import COMMITTED, EVERY_KIND, MATRIX, Settings, deviations, ours, predict
from tests.architectures.upstream_systems import SYSTEMS, Systems, systems
from tests.architectures.upstream_weights import made_up
from torch import Tensor, nn

from shoal.architectures import ArchitectureConfig, AtomicEnergyModel, NequIPConfig
from shoal.integrations.nequip.weights import to_ours

GRADIENTS = "parameter gradients"
WEIGHTS = ("made-up weights", "nequip's initial weights")
COLUMNS = (*upstream.QUANTITIES, GRADIENTS)
Row = dict[str, float]


class Family(NamedTuple):
    """An architecture of ours beside upstream's, and the settings in which they are compared."""

    name: str
    packages: tuple[str, ...]
    config: type[ArchitectureConfig]
    build: Callable[[Settings], nn.Module]
    made_up: Callable[[Any], dict[str, Tensor]]
    ours: Callable[[Settings, Mapping[str, Tensor]], AtomicEnergyModel]
    to_ours: Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]
    matrix: Mapping[str, list[Settings]]
    every_kind: Mapping[str, Settings]
    committed: Mapping[str, Settings]
    script: str


NEQUIP = Family(
    "NequIP",
    ("nequip", "e3nn", "torch"),
    NequIPConfig,
    upstream.build,
    made_up,
    ours,
    to_ours,
    MATRIX,
    EVERY_KIND,
    COMMITTED,
    "tests.architectures.upstream_equality --write benchmarks/results/equality.md",
)


def main(family: Family = NEQUIP) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    set_global_state()
    result = {"versions": {name: version(name) for name in family.packages}, "rows": compare(family)}
    json.dump(result, sys.stdout)
    if arguments.write:
        arguments.write.write_text(page(family, result))


def compare(family: Family) -> dict[str, Row]:
    """Per option, kind of features, kind of system and source of weights: the largest deviations, models compared,
    and the smallest of the models' largest forces (eV/A), so that equality is not that of zeros."""
    rows: dict[str, Row] = {label: {} for label in (*family.matrix, *family.every_kind, *WEIGHTS, *SYSTEMS)}
    for option, cases in family.matrix.items():
        for settings in cases:
            for labels, found in _of_model(family, settings):
                for label in (option, *labels):
                    _keep_worst(rows[label], found)
            rows[option]["models"] = rows[option].get("models", 0) + 1
    return rows


def _of_model(family: Family, settings: Settings) -> Iterator[tuple[tuple[str, ...], Row]]:
    """Labels beside the option's, and deviations, for every source of weights and every kind of system."""
    config, model = family.config(**settings), family.build(settings)
    kind = next((name for name, chosen in family.every_kind.items() if chosen.items() <= settings.items()), "")
    initial = {name: parameter.detach().clone() for name, parameter in upstream.parameters(model).items()}
    for source, weights in zip(WEIGHTS, (family.made_up(config), initial), strict=True):
        upstream.put(model, weights)
        mine = family.ours(settings, weights)
        labels = (source, kind) if kind else (source,)
        for name, atoms in systems(len(config.type_names)).items():
            theirs = upstream.predict(model.eval(), atoms)
            found = deviations(predict(mine, atoms), theirs, atoms, mine)
            yield (*labels, name), {**found, "smallest force": theirs["forces"].abs().max().item()}
            if name == "mixed batch" and source == WEIGHTS[0] and (config.l_max == 2 or not kind):
                yield (*labels, name), {GRADIENTS: _of_gradients(family, mine, model, atoms)}


def _of_gradients(family: Family, mine: AtomicEnergyModel, model: nn.Module, atoms: Systems) -> float:
    """Largest deviation of the gradients of a loss in forces and energies; each tensor has its own scale."""

    def loss(results: Mapping[str, Tensor]) -> Tensor:
        return results["forces"].square().sum() + (results["energy"] / atoms.n_atoms).square().sum()

    model.zero_grad()
    loss(upstream.predict(model.train(), atoms)).backward()
    flat = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in upstream.parameters(model).items()
    }
    expected = family.to_ours(flat, mine.config)
    loss(predict(mine, atoms, create_graph=True)).backward()
    worst, kept = 0.0, 0.0
    for name, parameter in mine.named_parameters():
        assert parameter.grad is not None, name
        worst = max(worst, _share(parameter.grad - expected[name], expected[name]))
        kept += expected[name].square().sum().item()
    left_out = sum(values.square().sum().item() for values in flat.values()) - kept
    assert abs(left_out) <= 1e-10 * max(1, kept), "upstream has gradients in weights that ours leaves out"
    return worst


def _share(difference: Tensor, scale: Tensor) -> float:
    return difference.abs().max().item() / max(1.0, scale.abs().max().item())


def _keep_worst(row: Row, found: Row) -> None:
    """NaN is worse than anything."""
    for name, value in found.items():
        before = row.get(name)
        if name == "smallest force":
            row[name] = value if before is None else min(before, value)
        elif before is None or isnan(value) or value > before:
            row[name] = value


def table(result: Mapping[str, Any]) -> str:
    """The largest deviations, markdown."""
    lines = [
        f"| | models | {' | '.join(COLUMNS)} | smallest largest force |",
        f"|---|---|{'---|' * len(COLUMNS)}---|",
    ]
    for label, row in result["rows"].items():
        cells = [f"{row[name]:.1e}" if name in row else "" for name in COLUMNS]
        lines.append(f"| {label} | {row.get('models', '')} | {' | '.join(cells)} | {row['smallest force']:.2g} eV/A |")
    return "\n".join(lines)


def page(family: Family, result: Mapping[str, Any]) -> str:
    found = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"""# Shoal's {family.name} beside nequip's

Upstream: {found}; float64, one thread. The same weights in both models. Largest abs(ours - theirs) /
max(1, largest value of that quantity in that system); energies are per atom, with the shifts taken off (eV), forces
eV/A, stress eV/A^3, virial eV. Every row is the worst over all that the other rows tell apart: the settings of the
builder, kinds of features, sources of weights, kinds of systems. Gradients: of the squares of forces and energies per
atom, in every parameter, scale by tensor. The last column is the smallest of the largest forces: nothing here is the
equality of zeros.

Made by `python -m {family.script}`.

{table(result)}
"""


if __name__ == "__main__":
    main()
