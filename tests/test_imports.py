"""Imports point down the package map, cost little, and leave the process as it was."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal

SOURCE = Path(shoal.__file__).parent

# highest first; units on one line do not import each other
PACKAGE_MAP = [
    ["__main__"],
    ["cli"],
    ["demo"],
    ["throughput"],
    ["report"],
    ["campaign", "properties"],
    ["training"],
    ["integrations"],
    ["deploy"],
    ["conformance"],
    ["engine"],
    ["dynamics", "relaxation"],
    ["constraints", "parameters", "trajectory"],
    ["motion"],
    ["potentials"],
    ["files"],
    ["architectures"],
    ["nn"],
    ["contract"],
    ["neighbors", "io"],
    ["state"],
    ["native"],
    ["allocator", "atomic", "cache", "devices", "figures", "matrix_functions", "random", "testing"],
    ["status", "units", "errors"],
]
HEIGHT = {unit: -line for line, units in enumerate(PACKAGE_MAP) for unit in units}


def units() -> list[str]:
    names = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    return sorted(names - {"__init__"})


def imported_units(file: Path) -> Iterator[tuple[int, str]]:
    """Line and unit of every import of this package, wherever in the file it stands."""
    package = ("shoal", *file.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            root, _, rest = target.partition(".")
            if root == "shoal" and rest.split(".")[0] in HEIGHT:
                yield node.lineno, rest.split(".")[0]


def test_every_module_and_folder_has_its_place_on_the_map() -> None:
    assert [unit for unit in units() if unit not in HEIGHT] == []


@pytest.mark.parametrize("unit", units())
def test_imports_point_down(unit: str) -> None:
    files = [SOURCE / f"{unit}.py"] if (SOURCE / f"{unit}.py").exists() else list((SOURCE / unit).rglob("*.py"))
    wrong = [
        f"{file.relative_to(SOURCE)}:{line} imports {target}"
        for file in files
        for line, target in imported_units(file)
        if target != unit and HEIGHT[target] >= HEIGHT[unit]
    ]
    assert wrong == []


def test_relative_and_lazy_imports_are_seen() -> None:
    """The reader of imports itself, on a file that uses every form."""
    seen = {unit for _, unit in imported_units(SOURCE / "nn" / "convolution" / "reference.py")}
    assert "nn" in seen
    assert "engine" in {unit for _, unit in imported_units(SOURCE / "cli" / "evaluate.py")}


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = {
    "ase",
    "e3nn",
    "h5py",
    "lightning",
    "matplotlib",
    "metatensor",
    "metatomic",
    "nvalchemiops",
    "pandas",
    "plotly",
    "pyarrow",
    "pytorch_lightning",
    "rich",
    "scipy",
    "tblite",
    "tensorboard",
    "torchmetrics",
    "vesin",
    "warp",
}


@pytest.mark.parametrize(
    ("code", "also_absent"),
    [
        ("import shoal", ["pydantic", "yaml", "typer", "safetensors"]),
        ("from shoal import SimState, TypeMap, concatenate", ["pydantic", "yaml", "typer", "safetensors"]),
        ("from shoal import io, neighbors", ["pydantic", "yaml", "typer", "safetensors"]),
        ("from shoal import potentials, BatchCalculator, load, evaluate", ["typer"]),
        ("from shoal import package, compile_model, train", ["typer"]),
        ("import shoal.cli", ["torch"]),
    ],
)
def test_heavy_packages_are_imported_where_first_used(code: str, also_absent: list[str]) -> None:
    loaded = python(f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})").split()
    assert "shoal" in loaded
    assert sorted({*loaded} & {*HEAVY, *also_absent}) == []


SNAPSHOT = """
import locale, os, pkgutil, random, signal, sys, warnings
import ase.io, lightning, matplotlib, numpy, pydantic, torch, typer, vesin, yaml
import torch._inductor, torch.fx, torch.export

def snapshot():
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "torch generator": torch.get_rng_state().tolist(),
        "torch seed": torch.initial_seed(),
        "numpy generator": str(numpy.random.get_state()),
        "random generator": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "matmul precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "warning filters": list(warnings.filters),
        "numpy errors": numpy.geterr(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "locale": locale.setlocale(locale.LC_ALL),
        "backend": matplotlib.get_backend(auto_select=False),
        "files": sorted(os.listdir()),
        "folder": os.getcwd(),
    }

before = snapshot()
import shoal
for module in pkgutil.walk_packages(shoal.__path__, "shoal."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
for name in dir(shoal):
    getattr(shoal, name)
after = snapshot()
for key in before:
    assert before[key] == after[key], f"{key}: {before[key]} became {after[key]}"
print(len([name for name in sys.modules if name.startswith("shoal.")]))
"""


def test_importing_everything_changes_no_global_state_and_writes_no_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code = f"import os\nos.chdir({str(tmp_path)!r})\n{SNAPSHOT}"
    assert int(python(code, SHOAL_CACHE_DIR=str(cache))) > 30
    assert not cache.exists()
