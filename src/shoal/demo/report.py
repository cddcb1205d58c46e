"""The demo's `report.html`: what was measured in this run, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.report.page import Section, Tile, image, preformatted, table, write_page
from shoal.report.provenance import machine, versions
from shoal.report.structure_view import structure_view
from shoal.units import GPA

if TYPE_CHECKING:
    from pathlib import Path

    from shoal.demo.pipeline import DemoResult

PACKAGES = ("shoal", "torch", "numpy", "ase", "vesin", "lightning", "matplotlib", "plotly")


def write_report(result: DemoResult, path: Path) -> Path:
    """Write the report of a run as one self-contained HTML file and return its path."""
    sections = [
        _steps(result),
        _learning(result),
        _accuracy(result),
        _equation(result),
        _three_cells(result),
        _throughput(result),
        _worst_frame(result),
        _provenance(result),
    ]
    best = max(result.throughput, key=lambda t: t.ratio)
    tiles = [Tile(c.shown, f"{c.name}, limit {c.limit_shown}", c.passed) for c in result.checks]
    tiles.append(
        Tile(f"{best.ratio:.2f} x", f"as fast in a batch as in a loop, {best.n_systems} cells of {best.n_atoms} atoms")
    )
    lead = (
        "A NequIP potential, trained on GFN1-xTB silicon, packed, compiled and evaluated in batches. "
        "Every number on this page was computed in this run."
    )
    return write_page(path, "Shoal demo: silicon", lead, tiles, sections)


def _steps(result: DemoResult) -> Section:
    rows = [(step.title, f"{step.seconds:.1f}", step.result) for step in result.steps]
    text = "From labelled frames to this page; wall time of each step."
    return Section("Steps", text, [table(("step", "s", "what came out"), rows)])


def _learning(result: DemoResult) -> Section:
    from shoal.figures import learning_curve, png

    history = result.trained.history
    if not history:
        return Section("Learning curve", "No epoch was finished in the time given.")
    best = min(history, key=lambda row: row["val_loss"])
    text = (
        f"{len(history)} epochs over {len(result.data.train)} frames in {history[-1]['seconds']:.0f} s; the held-out "
        f"{len(result.data.validation)} frames are judged with averaged weights. The model that goes on is that of "
        f"epoch {best['epoch']:.0f}, the best on them."
    )
    return Section("Learning curve", text, [image(png(learning_curve(history)), "errors over the epochs")])


def _accuracy(result: DemoResult) -> Section:
    from shoal.figures import parity, png

    accuracy = result.accuracy
    pairs = {name: accuracy.parity(name) for name in accuracy.total}
    rows = []
    for group, errors in {"all": accuracy.total, **accuracy.per_group}.items():
        n_frames = len(accuracy.frames) if group == "all" else sum(f.group == group for f in accuracy.frames)
        figures = [f"{errors[name].rmse:.2f}" for name in ("energy", "forces", "stress")]
        rows.append((group, str(n_frames), *figures, f"{errors['forces'].mae:.2f}"))
    heads = ("frames", "n", "energy, meV/atom", "forces, meV/A", "stress, meV/A^3", "forces MAE, meV/A")
    text = (
        f"The {_file_words(result)} on the held-out frames: each point is a frame, a force component or a stress "
        "component. Below, root mean square errors by the kind of frame."
    )
    return Section("Held-out frames", text, [image(png(parity(pairs)), "predictions over labels"), table(heads, rows)])


def _equation(result: DemoResult) -> Section:
    from shoal.figures import equation_of_state, png

    equation = result.equation
    model, labels = equation.model, equation.labels
    edges = [float(np.cbrt(8 * curve.volume)) for curve in (labels, model)]
    rows = [
        ("volume, A^3/atom", *_beside(labels.volume, model.volume, ".3f")),
        ("lattice constant, A", *_beside(edges[0], edges[1], ".4f")),
        ("bulk modulus, GPa", *_beside(labels.bulk_modulus, model.bulk_modulus, ".2f")),
        ("slope dB/dP", *_beside(labels.slope, model.slope, ".2f")),
    ]
    offset = 1000 * (model.energy - labels.energy)
    text = (
        f"{len(labels.volumes)} volumes of the perfect crystal, {equation.n_atoms} atoms, in one batch; none of them "
        "was trained on. The same Birch-Murnaghan fit to both sets of energies; zero of energy is the labels' minimum, "
        f"the model's lies {offset:+.2f} meV/atom from it."
    )
    curves = {
        name: (curve.volumes, curve.energies - labels.energy, lambda v, c=curve: c.at(v) - labels.energy)
        for name, curve in (("GFN1-xTB", labels), ("model", model))
    }
    figure = image(png(equation_of_state(curves)), "energy over volume, labels and model")
    return Section("Equation of state", text, [figure, table(("", "GFN1-xTB", "model", "difference"), rows)])


def _beside(label: float, model: float, form: str) -> tuple[str, str, str]:
    return f"{label:{form}}", f"{model:{form}}", f"{100 * (model / label - 1):+.2f} %"


def _three_cells(result: DemoResult) -> Section:
    state, results = result.seed
    rows = []
    for s in range(state.n_systems):
        pressure = -float(results["stress"][s].trace()) / 3 / GPA
        force = float(results["forces"][state.system_index == s].abs().max())
        values = float(state.cell[s, 0, 0]), float(results["energy"][s])
        rows.append((f"{values[0]:.4f}", f"{values[1]:.4f}", f"{force:.1e}", f"{pressure:+.2f}"))
    own = np.cbrt(8 * result.equation.labels.volume)
    text = (
        "Cubic silicon cells at 0.98, 1.00 and 1.02 of a = 5.43 A, packed into one state and evaluated by one call of "
        f"the BatchCalculator. By the labels the crystal's own lattice constant is {own:.3f} A, hence the pressures."
    )
    heads = ("a, A", "energy, eV", "largest force component, eV/A", "pressure, GPa")
    return Section("Three cells in one call", text, [table(heads, rows)])


def _throughput(result: DemoResult) -> Section:
    rows = []
    for t in result.throughput:
        rows.append(
            (
                f"{t.n_systems} x {t.n_atoms} atoms",
                str(t.n_batches),
                _spread(t.batch),
                _spread(t.loop),
                f"{t.per_atom(t.batch):.1f}",
                f"{t.per_atom(t.loop):.1f}",
                f"{t.ratio:.2f}",
            )
        )
    counts = sorted({len(t.batch) for t in result.throughput})
    rounds = " or ".join(map(str, counts))
    heads = (
        "cells",
        "batches",
        "batch, s",
        "loop, s",
        "batch, us/atom",
        "loop, us/atom",
        "loop / batch",
    )
    text = (
        f"Energies, forces and stresses of rattled cells (0.05 A) with the {_file_words(result)}: shoal.evaluate, in "
        "as many batches as the table says, and a loop over the ASE calculator; from ASE structures to numbers, "
        f"neighbour lists included, median (quartiles) of {rounds} rounds in turns after a warm-up. Both run on one "
        "thread; the loop keeps no list from one cell to the next, its fastest form here. What a call costs beside the "
        "arithmetic is paid once a batch. "
        f"{_agreement(result)}"
    )
    return Section("One batch, or a loop", text, [table(heads, rows)])


def _agreement(result: DemoResult) -> str:
    energy = max(t.energy_difference for t in result.throughput)
    forces = max(t.forces_difference for t in result.throughput)
    if energy == forces == 0:
        return "Both sides give the same numbers, bit for bit."
    return f"Both sides agree to {energy:.0e} eV/atom and {forces:.0e} eV/A."


def _spread(seconds: tuple[float, ...]) -> str:
    if len(seconds) < 2:
        return f"{seconds[0]:.3f}"
    low, _, high = quantiles(seconds, n=4)
    return f"{median(seconds):.3f} ({low:.3f}-{high:.3f})"


def _worst_frame(result: DemoResult) -> Section:
    frame = max(result.accuracy.frames, key=lambda frame: np.square(frame.errors("forces")).mean())
    rmse = np.sqrt(np.square(frame.errors("forces")).mean())
    errors = np.linalg.norm(frame.errors("forces").reshape(-1, 3), axis=1) / 1000
    atoms = result.data.validation[frame.place].copy()
    atoms.wrap()
    text = (
        f"The held-out frame with the largest root mean square force error ({frame.group}, "
        f"{rmse:.0f} meV/A). Atoms are coloured by the size of the error of their force; drag to turn, "
        "scroll to zoom, point at an atom for its number."
    )
    return Section("Where the model is worst", text, [structure_view(atoms, errors, "force error, eV/A")])


def _provenance(result: DemoResult) -> Section:
    about: dict[str, Any] = {
        "written": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        **machine(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions(PACKAGES).items()),
        "package": f"{result.model.package.name}, sha256 {result.package_sha256}",
        "training data": f"sha256 {_data_hash(result)}",
    }
    if result.model.metadata is not None:
        about["compiled file, largest differences to the package"] = ", ".join(
            f"{name} {value:.0e}" for name, value in result.model.metadata.verified.items()
        )
    else:
        about["not compiled"] = result.model.failure
    commands = (
        f"shoal info {result.model.path}\n"
        f"shoal test {result.model.path} {result.data.validation_file}\n"
        f"shoal evaluate STRUCTURES --model {result.model.path} --out results.xyz"
    )
    text = "What this run was made with, its training configuration, and commands to go on with."
    config = (result.out / "silicon.yaml").read_text(encoding="utf-8")
    parts = [table(("", ""), list(about.items())), preformatted(commands), preformatted(config)]
    return Section("Provenance", text, parts)


def _data_hash(result: DemoResult) -> str:
    from shoal.files import read_manifest

    provenance: Mapping[str, Any] = read_manifest(result.model.package).provenance
    return str(provenance.get("data", {}).get("sha256", "unknown"))


def _file_words(result: DemoResult) -> str:
    return "compiled file" if result.model.compiled else "package, run eagerly"
