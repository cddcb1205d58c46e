"""How far a native kernel is from what the machine can do: its arithmetic and traffic, counted, over peaks measured.

For each package: flops and bytes of an atom from the plan the kernel is made from; us/atom of its evaluation; peaks of
this machine (vector multiply-add, matrix product, copy), all in the same alternate rounds. Counted are the radial
weights, the convolutions and the linear maps, forward and backward, as the kernel does them: padded channels included,
a multiply-add as two. Not counted: geometry, harmonics, activations, sums over lanes. Traffic is what passes through
memory when each array is read or written once a sweep; gathers are what edges read of their neighbours and of tables,
mostly from caches. The limit is the longest of: flops at the vector peak, traffic at the copy rate.

    python benchmarks/limit.py L1.shoal L2.shoal preset:L/3 --threads 2 --out benchmarks/results/limit.md

preset:L/3 is an untrained model of silicon (cutoff 5 A) by that preset, with three layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from _peaks import Peaks
from _rounds import Timing, alternate, machine
from shoal.architectures import NequIP, NequIPConfig
from shoal.architectures.native import Kernel, ModelPlan, plan_of, source_of
from shoal.architectures.native.plan import ConvolutionPlan, LayerPlan
from shoal.conformance.potential_subject import PotentialSubject
from shoal.files import ArchitectureSpec
from shoal.io import atoms_to_state
from shoal.native import load
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.potentials.native import checked_architecture
from shoal.throughput.structures import Crystals

TABLE_VALUE, TABLE_BOTH = 6, 10
"""Flops of a radial weight from a table: a cubic by Horner's rule, and with its slope."""
LIST_BYTES = 40
"""Of an edge of the list: its neighbour, checked and read, and its shifts."""
DOCUMENTED = {"num_features": 32, "radial_mlp_depth": 2, "radial_mlp_width": 64}


@dataclass(frozen=True)
class Counts:
    """Flops of an edge (radial weights, convolutions) and of an atom; bytes of both, and what an edge gathers."""

    radial: float
    convolution: float
    nodes: float
    edge_traffic: float
    node_traffic: float
    gathers: float

    def flops(self, n_neighbors: float) -> float:
        """Of an atom."""
        return n_neighbors * (self.radial + self.convolution) + self.nodes

    def traffic(self, n_neighbors: float) -> float:
        """Bytes of an atom."""
        return n_neighbors * self.edge_traffic + self.node_traffic


def counted(plan: ModelPlan) -> Counts:
    """What a kernel of this plan does for an edge and an atom, energy and gradients."""
    size = torch.finfo(plan.dtype).bits // 8
    sweeps = 2 * len(plan.layers)
    radial = sum(radial_flops(plan, layer) for layer in plan.layers)
    forward = sum(forward_flops(layer.convolution) for layer in plan.layers)
    backward = sum(backward_flops(layer.convolution, gathers=layer.n > 0) for layer in plan.layers)
    rows = sum(layer.convolution.x.size + layer.convolution.sums.size for layer in plan.layers[1:])
    tables = 0 if plan.pieces is None else 2 * sum(4 * layer.convolution.n_weights for layer in plan.layers)
    found = 5 * size + 8  # direction, length and t; neighbour and knot
    gradients = 3 * size * sweeps  # in the edge vectors: left by one layer, taken up and left by the next, summed
    edges = LIST_BYTES + found + 8 + sweeps * found + gradients
    return Counts(radial, forward + backward, node_flops(plan), edges, node_bytes(plan, size), size * (rows + tables))


def radial_flops(plan: ModelPlan, layer: LayerPlan) -> float:
    """Of an edge: radial weights forward, and with their slopes backward."""
    if plan.pieces is not None:
        return (TABLE_VALUE + TABLE_BOTH) * layer.convolution.n_weights
    sizes = [*plan.radial_sizes, layer.convolution.n_weights]
    return 3 * sum(2 * rows * columns for rows, columns in pairwise(sizes))


def forward_flops(plan: ConvolutionPlan) -> float:
    """Of an edge: what `Layer::forward` does, without radial weights."""
    total = 0
    for n, path in enumerate(plan.paths):
        factors = _factors(plan, n)
        products = sum(value != 1 for value in factors.values())
        first = path.source.dim <= path.target.dim
        each = products + len(factors) + (path.source.dim if first else path.target.dim)
        total += plan.x.padded(path.channels) * each
    return total


def backward_flops(plan: ConvolutionPlan, *, gathers: bool) -> float:
    """Of an edge: what `Layer::backward` (or `Layer::local`) does, without radial weights."""
    total = 0
    for n, path in enumerate(plan.paths):
        factors, sources = _factors(plan, n), path.source.dim
        each = sum(value != 1 for value in factors.values()) + len(factors) - sources  # v
        each += 2 * sources + 1 + (2 * sources if gathers else 0)  # in the distance and in the features
        if path.l:
            coupling = plan.coupling(n)
            pairs = {(a, b) for a, b, _ in coupling}
            each += sources + sum(value != 1 for value in coupling.values()) + len(coupling) + len(pairs)
        total += plan.x.padded(path.channels) * each
    return total


def _factors(plan: ConvolutionPlan, n: int) -> dict[tuple[int, int], float]:
    """(a, c) -> the coupling of a source's component with a target's where it is a number, else NaN; zeros left out."""
    if plan.paths[n].l == 0:
        return {(a, c): round(value, 15) for (a, _, c), value in plan.coupling(n).items()}
    return {(a, c): float("nan") for path, a, c in plan.angles if path == n}


def node_flops(plan: ModelPlan) -> float:
    """Of an atom: linear maps, self connections and readout, forward and backward."""
    total = 0
    for layer in plan.layers:
        n, x = layer.n, layer.convolution.x
        maps = [(f"out_{n}", layer.convolution.sums, layer.z), (f"own_{n}", x, layer.z)]
        maps += [(f"in_{n}", x, x)] if n else []
        for name, inputs, outputs in maps:
            for irrep in set(inputs.blocks) & set(outputs.blocks):
                if f"{name}_{irrep}" in plan.places:
                    total += 2 * irrep.dim * inputs.blocks[irrep].stride * outputs.blocks[irrep].stride
    total += sum(2 * rows * columns for rows, columns in pairwise([*plan.readout_sizes, 1]))
    return 2 * total


def node_bytes(plan: ModelPlan, size: int) -> float:
    """Of an atom: records, each as often as a sweep takes it from memory or leaves it there; forces and virial."""
    records = sum(2 * layer.z.size for layer in plan.layers[:-1])
    for before, layer in pairwise(plan.layers):
        records += (4 + layer.self_connection + layer.residual) * before.h.size
        records += 3 * layer.convolution.x.size + 2 * layer.convolution.sums.size
    return size * records + (24 + 72) * (2 + 2 * len(plan.layers)) + 24 + 24 + 16


@dataclass(frozen=True)
class Case:
    """A package's kernel on crystals: its counts, and its evaluation with a ready list."""

    name: str
    plan: ModelPlan
    n_atoms: int
    n_neighbors: float
    call: Callable[[], object]


def potential_of(name: str) -> LearnedPotential:
    """Of a package, or untrained of a preset: preset:NAME or preset:NAME/LAYERS."""
    kind, _, preset = name.rpartition(":")
    if kind != "preset":
        return LearnedPotential.from_package(name)
    preset, _, layers = preset.partition("/")
    config = {"preset": preset, "type_names": ["Si"], "cutoff": 5.0, "mean_neighbors": 28.0}
    return LearnedPotential(
        ArchitectureSpec(name="nequip", config=config | ({"num_layers": int(layers)} if layers else {}))
    )


def case_of(name: str, pieces: int | None, n_systems: int, n_atoms: int) -> Case:
    """The kernel alone: positions and CSR list to forces."""
    potential = potential_of(name)
    types = potential.type_map(True if potential.species_map is None else None)
    state = atoms_to_state(Crystals(PotentialSubject(potential, types, name), n_atoms)(n_systems))
    neighbors = neighbor_list(state, potential.cutoff)
    plan = plan_of(checked_architecture(potential), pieces)
    kernel = Kernel(load(source_of(plan)), plan.weights)
    call = partial(
        kernel,
        *(state.positions, state.cell, neighbors.offsets, neighbors.edge_index[1].contiguous(), neighbors.shifts),
        *(types(state), state.system_index),
    )
    return Case(
        _short(name),
        plan,
        state.n_atoms,
        neighbors.n_edges / state.n_atoms,
        call,
    )


def table(cases: list[Case], timings: dict[str, Timing], rates: dict[str, float]) -> str:
    """Markdown: a column for each case."""
    rows: dict[str, list[str]] = {}

    def row(label: str, value: str) -> None:
        rows.setdefault(label, []).append(value)

    for case in cases:
        counts, config, k = counted(case.plan), case.plan.config, case.n_neighbors
        seconds = timings[case.name].median / case.n_atoms
        flops, traffic = counts.flops(k), counts.traffic(k)
        limits = {"flops": flops / rates["multiply-add"], "traffic": traffic / rates["copy"]}
        row("layers, l_max, channels", f"{config.num_layers}, {config.l_max}, {_channels(case.plan)}")
        row("neighbours", f"{k:.0f}")
        row("radial weights, kflop/atom", f"{k * counts.radial / 1e3:.0f}")
        row("convolutions, kflop/atom", f"{k * counts.convolution / 1e3:.0f}")
        row("linear maps, kflop/atom", f"{counts.nodes / 1e3:.0f}")
        row("traffic, kB/atom", f"{traffic / 1e3:.1f}")
        row("gathers, kB/atom", f"{k * counts.gathers / 1e3:.1f}")
        row("limit by flops, us/atom", f"{1e6 * limits['flops']:.2f}")
        row("limit by traffic, us/atom", f"{1e6 * limits['traffic']:.2f}")
        row("measured, us/atom, median (quartiles)", timings[case.name].per(case.n_atoms))
        row("GFLOP/s", f"{flops / seconds / 1e9:.0f}")
        row("share of the multiply-add peak", f"{flops / seconds / rates['multiply-add']:.0%}")
        row("share of the matrix-product rate", f"{flops / seconds / rates['matrix product']:.0%}")
        row("share of the copy rate", f"{traffic / seconds / rates['copy']:.0%}")
        row("measured over limit", f"{seconds / max(limits.values()):.1f}")
    lines = ["| | " + " | ".join(case.name for case in cases) + " |", "|---" * (len(cases) + 1) + "|"]
    return "\n".join([*lines, *(f"| {label} | {' | '.join(values)} |" for label, values in rows.items())])


def counts_table() -> str:
    """Markdown: counts of the models that docs/performance.md speaks of, tables and networks."""
    heads = ("l_max", "radial weights", "networks instead", "convolutions", "linear maps of an atom")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for l_max, layers in ((1, 2), (2, 3), (3, 3)):
        config = NequIPConfig(
            cutoff=5.0, type_names=("Si",), mean_neighbors=28.0, num_layers=layers, l_max=l_max, **DOCUMENTED
        )
        tables, networks = (counted(plan_of(NequIP(config), pieces)) for pieces in (256, None))
        values = (tables.radial, networks.radial, tables.convolution, tables.nodes)
        lines.append(f"| {l_max} | {' | '.join(f'{value / 1e3:.1f}' for value in values)} |")
    return "\n".join(lines)


def _short(name: str) -> str:
    """Folder and name of a package, which tell several apart."""
    path = Path(name)
    return f"{path.absolute().parent.name}/{path.stem}" if path.suffix == ".shoal" else name


def _channels(plan: ModelPlan) -> str:
    return "/".join(str(max(counts)) for counts in plan.layers[-1].convolution.x.parts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "packages", nargs="*", help="or preset:NAME/LAYERS; none: only counts, of the models in the manual"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pieces", type=int, default=256, help="of the radial tables; 0: the networks themselves")
    parser.add_argument("--systems", type=int, default=64)
    parser.add_argument("--atoms", type=int, default=64)
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    arguments = parser.parse_args()
    if not arguments.packages:
        print(f"kflop of an edge, and of an atom\n\n{counts_table()}")
        return
    torch.set_num_threads(arguments.threads)
    cases = [case_of(name, arguments.pieces or None, arguments.systems, arguments.atoms) for name in arguments.packages]
    dtypes = {case.plan.dtype for case in cases}
    if len(dtypes) > 1:
        parser.error("packages of one precision only: the peaks are those of one")
    peaks = Peaks(*dtypes)
    timings = alternate({**peaks.calls, **{case.name: case.call for case in cases}}, arguments.rounds)
    rates = peaks.rates(timings)
    units = {name: "GB/s" if name == "copy" else "GFLOP/s" for name in rates}
    found = ", ".join(f"{name} {rate / 1e9:.0f} {units[name]}" for name, rate in rates.items())
    text = f"{machine()}; {arguments.threads} threads; torch {torch.__version__}; {arguments.rounds} alternate rounds"
    text += f"\n\nPeaks in the same rounds ({next(iter(dtypes))}): {found}.\n\n"
    text += table(cases, timings, rates) + "\n"
    print(text)
    if arguments.out:
        with open(arguments.out, "a") as file:
            file.write(f"\n## {arguments.threads} threads\n\n{text}")


if __name__ == "__main__":
    main()
