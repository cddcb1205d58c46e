"""`run`: the demo from its data to its report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from shoal.demo.data_files import Data, prepare
from shoal.demo.equation_of_state import Comparison, compare_equations_of_state
from shoal.demo.model import Model, compile_package, package_model, train_model
from shoal.demo.quality import Check, quality
from shoal.demo.report import write_report
from shoal.demo.steps import Step, Steps
from shoal.demo.throughput import Throughput, compare_throughput, rattled_cells
from shoal.errors import MissingDependencyError, QualityError
from shoal.files import file_sha256
from shoal.io import atoms_to_state
from shoal.properties import Accuracy, measure_accuracy

if TYPE_CHECKING:
    from rich.console import Console

    from shoal.state import SimState
    from shoal.training import TrainResult
    from shoal.training.progress import TrainingProgress

N_STEPS = 9
NEEDED = {"lightning": "train", "matplotlib": "report", "plotly": "report"}
CELL_SIZES = {1: 2048, 2: 1024}  # cubic cells along an edge: most atoms in a batch; the small cells are one batch


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Everything the demo measured. `seed`: the three-cell batch, its state and what the model gave."""

    out: Path
    data: Data
    trained: TrainResult
    model: Model
    package_sha256: str
    seed: tuple[SimState, Mapping[str, torch.Tensor]]
    accuracy: Accuracy
    equation: Comparison
    throughput: tuple[Throughput, ...]
    checks: list[Check]
    steps: list[Step]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def run(
    out: str | Path = "demo-out",
    *,
    seconds: float = 120.0,
    n_cells: int = 200,
    rounds: int = 5,
    changes: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> DemoResult:
    """Train, pack, compile and evaluate a silicon potential on the shipped data, and write `report.html` into `out`.

    `seconds`: of training. `n_cells`, `rounds`: of the comparison between one batch and a loop. `changes` to the
    training configuration: `key.path` -> value. Files of an earlier run in `out` are replaced.

    Raises QualityError, after the report is written, when the model misses a limit of `shoal.demo.quality`, and
    MissingDependencyError, before anything runs, when a package is not installed.
    """
    from rich.console import Console

    _check_packages()
    out, console = Path(out), console or Console()
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    steps = Steps(N_STEPS, console)

    with steps("Data", "laying out the shipped frames") as step:
        data = prepare(out)
        step.result = (
            f"{len(data.train)} frames to train on, {len(data.validation)} held out, {len(data.volumes)} volumes"
        )
    with steps("Train", f"starting; {seconds:.0f} s of training") as step:
        trained = train_model(data, out, seconds, changes or {}, lambda now: _tell_training(step, now, seconds))
        step.result = f"{len(trained.history)} epochs, stopped by {trained.stopped_by}"
    with steps("Package", "weights, JSON and reference results into one file") as step:
        package = package_model(trained, out)
        sha256 = file_sha256(package)
        step.result = f"{package}, {package.stat().st_size / 1e3:.0f} kB, sha256 {sha256[:12]}"
    with steps("Compile", "AOTInductor and the C++ compiler; about a minute") as step:
        model = compile_package(package)
        step.result = (
            f"{model.compiled}, checked against the package"
            if model.compiled
            else f"not compiled, going on with the package, which runs eagerly: {model.failure}"
        )
    calculator = model.calculator()
    with steps("Three cells", "one batch") as step:
        state = seed_batch()
        results = calculator(state)
        step.result = f"energies {', '.join(f'{e:.3f}' for e in results['energy'].tolist())} eV in one call"
    with steps("Accuracy", "held-out frames") as step:
        accuracy = measure_accuracy(data.validation, calculator)
        errors = accuracy.total
        step.result = f"RMSE {errors['forces'].rmse:.1f} meV/A, {errors['energy'].rmse:.1f} meV/atom on held-out frames"
    with steps("Equation of state", f"{len(data.volumes)} volumes in one batch") as step:
        equation = compare_equations_of_state(calculator, data.volumes)
        step.result = (
            f"B {equation.model.bulk_modulus:.1f} GPa (labels {equation.labels.bulk_modulus:.1f}), "
            f"V0 {equation.model.volume:.3f} A^3/atom (labels {equation.labels.volume:.3f})"
        )
    with steps("Batch and loop", f"{n_cells} rattled cells, one thread") as step:
        throughput = tuple(
            compare_throughput(model, rattled_cells(n_cells, repeat), max_atoms, rounds, step.tell)
            for repeat, max_atoms in CELL_SIZES.items()
        )
        step.result = "; ".join(f"{t.n_atoms} atoms: a batch is {t.ratio:.2f} times as fast" for t in throughput)
    checks = quality(accuracy, equation)
    with steps("Report", "drawing") as step:
        result = DemoResult(
            out, data, trained, model, sha256, (state, results), accuracy, equation, throughput, checks, steps.done
        )
        report = write_report(result, out / "report.html")
        step.result = f"{report}, {report.stat().st_size / 1e6:.1f} MB, one file"

    _summarise(result, time.perf_counter() - started, console)
    failed = [check for check in checks if not check.passed]
    if failed:
        missed = "; ".join(f"{check.name} is {check.shown}, allowed {check.limit_shown}" for check in failed)
        raise QualityError(f"the demo's model is not good enough: {missed}. {report} shows more")
    return result


def seed_batch() -> SimState:
    """Three cubic silicon cells, compressed, as they are and stretched by 2 %, as one state."""
    from ase.build import bulk

    structures = [bulk("Si", crystalstructure="diamond", a=5.43 * scale, cubic=True) for scale in (0.98, 1.00, 1.02)]
    return atoms_to_state(structures, dtype=torch.float64)


def _check_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({NEEDED[name] for name in missing}))
        raise MissingDependencyError(f"the demo needs {', '.join(missing)}: pip install 'shoal[{extras}]'")


def _tell_training(step: Step, now: TrainingProgress, seconds: float) -> None:
    errors = now.validation
    shown = f"epoch {now.epoch}, batch {now.batch} of {now.n_batches}"
    if errors:
        shown = (
            f"epoch {now.epoch}, held-out RMSE {errors['forces_rmse']:.0f} meV/A, {errors['energy_rmse']:.1f} meV/atom"
        )
    step.tell(shown, min(1.0, now.elapsed / seconds))


def _summarise(result: DemoResult, seconds: float, console: Console) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table("", "measured", "limit", "", box=SIMPLE, pad_edge=False)
    for check in result.checks:
        verdict = Text("passed", "green") if check.passed else Text("FAILED", "bold red")
        table.add_row(check.name, check.shown, check.limit_shown, verdict)
    for t in result.throughput:
        table.add_row(
            f"{t.n_systems} x {t.n_atoms} atoms",
            f"{median(t.batch):.3f} s batched",
            f"{median(t.loop):.3f} s looped",
            f"x {t.ratio:.2f}",
        )
    table.add_row("the whole demo", f"{seconds:.0f} s", "", "")
    console.print(table)
    out, model = result.out, result.model.path
    for line in (
        f"Look at   {out / 'report.html'}",
        f"Model     {model}: shoal info {model}",
        f"Try it    shoal evaluate {out / 'data' / 'validation.xyz'} --model {model} --out results.xyz",
        f"Your own  edit {out / 'silicon.yaml'} (data, type_names, cutoff), then: cd {out} && shoal train silicon.yaml",
    ):
        console.print(Text(line), soft_wrap=True)
