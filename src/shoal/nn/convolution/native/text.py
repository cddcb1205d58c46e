"""Pieces of C++ that the kernels of a convolution are put together from."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.nn.convolution.native.plan import ConvolutionPlan
from shoal.nn.convolution.native.polynomial import number

MOST_SUMS = 20
"""Sums held in registers at a time."""


def emit_angles(plan: ConvolutionPlan) -> list[str]:
    """`angles`: the small matrices t, from harmonics Y."""
    texts = [f"load(Y + {b} * ld + e)" for b in range(plan.n_harmonics)]
    return angles(plan, "int n, size_t ld, const real* Y", "n", [], texts)


def angles(plan: ConvolutionPlan, given: str, n: str, before: list[str], texts: list[str]) -> list[str]:
    """The same from what is `given`: `n` edges, lines that come `before`, and the text of each harmonic."""
    lines = [
        "  // couplings with the harmonics, arrays of `ld` edges",
        f"  static void angles({given}, real* t) {{",
        f"    for (int e = 0; e < {n}; e += LANES) {{",
        *before,
    ]
    used = sorted({b for _, terms in plan.angles.values() for b in terms})
    for b in used:
        lines.append(f"      const vec y{b} = {texts[b]};")
    written: set[int] = set()
    for k, terms in plan.angles.values():
        if k not in written:
            written.add(k)
            text = " + ".join(f"{number(value)} * y{b}" for b, value in terms.items())
            lines.append(f"      store(t + {k} * ld + e, {text});")
    return [*lines, "    }", "  }"]


def groups(plan: ConvolutionPlan, numbers: Iterable[int]) -> list[list[int]]:
    """Paths whose sums fit into the registers together; those of one group have equally many channels."""
    found: list[list[int]] = []
    size, channels = MOST_SUMS, -1
    for n in sorted(numbers, key=lambda n: (plan.paths[n].channels, plan.paths[n].source, plan.paths[n].target)):
        path = plan.paths[n]
        if size + path.target.dim > MOST_SUMS or plan.x.padded(path.channels) != channels:
            found.append([])
            size, channels = 0, plan.x.padded(path.channels)
        found[-1].append(n)
        size += path.target.dim
    return found


def factor(plan: ConvolutionPlan, n: int, a: int, c: int, t: str = "t") -> str | None:
    """The coupling of component a of the source with c of the target: an element of t, a number, or nothing."""
    if plan.paths[n].l == 0:
        value = plan.coupling(n).get((a, 0, c))
        return None if value is None else number(round(value, 15))
    entry = plan.angles.get((n, a, c))
    return None if entry is None else f"{t}[{entry[0]} * ld]"


def sum_of(terms: Iterable[tuple[str, str | None]]) -> str:
    """Sum of products of a vector with a factor, those with none left out."""
    parts = [v if factor == "real(1.0)" else f"{v} * {factor}" for v, factor in terms if factor is not None]
    return " + ".join(parts)


def touched_rows(plan: ConvolutionPlan, numbers: Iterable[int]) -> list[tuple[int, str]]:
    """Harmonics that paths couple with, with the names of their sums."""
    found = sorted({plan.paths[n].l ** 2 + b for n in numbers if plan.paths[n].l for _, b, _ in plan.coupling(n)})
    return [(b, f"g{b}") for b in found]


def lane_sums(touched: list[tuple[int, str]], assign: str) -> list[str]:
    """Sums over the lanes of vectors, into their rows of G."""
    lines = []
    for k in range(0, len(touched), 4):
        part = touched[k : k + 4]
        names = [name for _, name in part] + ["vec{}"] * (4 - len(part))
        lines.append(f"        {{ const quad s = sums_of({', '.join(names)});")
        lines += [f"          G[{b} * ld + e] {assign} s[{j}];" for j, (b, _) in enumerate(part)]
        lines.append("        }")
    return lines
