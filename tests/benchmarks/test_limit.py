"""What benchmarks/limit.py counts is what the kernel's text does."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.architectures.small_models import BASE

from shoal.architectures import build
from shoal.architectures.native import ModelPlan, plan_of, source_of
from shoal.nn.convolution.native.emit import emit_convolution

FOLDER = Path(__file__).parents[2] / "benchmarks"
OPERATORS = re.compile(r"(?<=[\w\])]) (?:[-+*]|\+=) (?=[\w(-])")


@pytest.fixture(scope="module")
def limit() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(FOLDER))
    yield runpy.run_path(str(FOLDER / "limit.py"))
    sys.path.remove(str(FOLDER))


def plan(l_max: int, parity: bool = True, pieces: int | None = 16, **options: Any) -> ModelPlan:
    config = {"cutoff": 4.0, "type_names": ("A", "B"), "l_max": l_max, "parity": parity, "num_features": 16}
    model = build("nequip", {**BASE["nequip"], "num_layers": 3, **config, "model_dtype": "float32", **options})
    return plan_of(model, pieces)  # type: ignore[arg-type]


def operations(text: str) -> int:
    """Products and sums of vectors in the paths of a function's text, for all its channels; addresses are no vectors.

    Text without what is in square brackets or a call's parentheses: those are addresses; radial weights are elsewhere.
    """
    total, width, inside = 0, 1, False
    for line in text.splitlines():
        if found := re.search(r"for \(int h = 0; h < (\d+)", line):
            width = int(found[1])
        if "load(q +" in line or "load(q)" in line:
            line = re.sub(r"load\([^()]*\)", "vector", line)
        inside = inside and line.strip() != "}"
        if re.search(r"\{  // .* x Y", line):
            inside = True
            continue
        if inside and "radial." not in line:
            line = re.sub(r"\[[^\]]*\]", "", re.sub(r"real\([^()]*\)", "number", line)).split("//")[0]
            total += width * len(OPERATORS.findall(line))
    return total


PRODUCT = re.compile(r"mix(?:_by_type)?\(atoms,(?: types,)? (\d+), .+?, (\d+), W \+ \d+, .+?, (\d+), (?:true|false)\);")


def functions(text: str) -> dict[str, str]:
    parts = re.split(r"static void (\w+)\(", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("parity", [True, False])
@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_flops_of_an_edge_are_the_operators_of_the_text(limit: dict[str, Any], l_max: int, parity: bool) -> None:
    for layer in plan(l_max, parity).layers:
        gathers = layer.n > 0
        text = functions(emit_convolution(layer.convolution, gathers=gathers))
        assert limit["forward_flops"](layer.convolution) == operations(text["forward"])
        backward = limit["backward_flops"](layer.convolution, gathers=gathers)
        assert backward == operations(text["backward" if gathers else "local"])


@pytest.mark.parametrize("options", [{}, {"resnet": True, "readout_mlp_depth": 1, "readout_mlp_width": 5}])
def test_flops_of_an_atom_are_the_matrix_products_of_the_text(limit: dict[str, Any], options: dict[str, Any]) -> None:
    made = plan(2, **options)
    sizes = [[int(word) for word in found] for found in PRODUCT.findall(source_of(made))]
    assert len(sizes) > 20
    last = made.readout_sizes[-1]  # a scalar product and its gradient
    assert limit["node_flops"](made) == sum(2 * dim * k * n for dim, k, n in sizes) + 2 * (2 * last)


def test_tables_cost_less_than_networks(limit: dict[str, Any]) -> None:
    tabulated, exact = (limit["counted"](plan(1, pieces=pieces, radial_mlp_width=64)) for pieces in (16, None))
    assert tabulated.radial == (6 + 10) * sum(layer.convolution.n_weights for layer in plan(1).layers)
    assert exact.radial > 10 * tabulated.radial
    assert (exact.convolution, exact.nodes) == (tabulated.convolution, tabulated.nodes)
    assert exact.flops(10) == 10 * (exact.radial + exact.convolution) + exact.nodes


def test_the_manual_has_the_counts(limit: dict[str, Any]) -> None:
    assert limit["counts_table"]() in (FOLDER.parent / "docs" / "performance.md").read_text()
